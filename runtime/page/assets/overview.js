// How the runs ended: tiles for one run, a table for several.

function drawOverview() {
  const host = body('overview');
  for (const [place, run] of data.runs.entries()) {
    for (const text of run.notes) host.append(note(several ? `${data.runs[place].name}: ${text}` : text));
  }
  host.append(several ? runsTable() : tiles(data.runs[0]));
}

function lastOf(column) {
  return column.length ? column[column.length - 1] : null;
}

function bestOf(column) {
  const there = column.filter(value => value !== null);
  return there.length ? Math.max(...there) : null;
}

function sum(column) {
  return column.reduce((total, value) => total + (value || 0), 0);
}

function tiles(run) {
  const {test_accuracy: test, train_accuracy: train, test_loss: loss, seconds} = run.curves;
  const best = bestOf(test);
  const found = [
    [run.state, 'trained'],
    [percent(lastOf(test)), 'test accuracy' + (best === null ? '' : `, best ${percent(best)} in epoch ${run.curves.epoch[test.indexOf(best)]}`)],
    [percent(lastOf(train)), 'training accuracy, while learning'],
    [few(lastOf(loss)), 'test loss'],
    [seconds.length ? time(sum(seconds)) : NOTHING, 'of training'],
    ...Object.entries(run.figures).map(([name, value]) => [value, name]),
  ];
  const program = run.program === null ? null : data.programs[run.program];
  for (const [name, value, text] of program ? program.sites.figures.slice(0, 2) : []) found.push([value, `${name.toLowerCase()}: ${text}`]);
  return el('div', {class: 'tiles'}, found.map(([value, name]) => el('div', {class: 'tile'}, el('b', {}, value), el('span', {}, name))));
}

/** Options in which the runs differ; the wiring's is shown anyway. */
function differing() {
  const names = [...new Set(data.runs.flatMap(run => Object.keys(run.options)))];
  return names.filter(name => name !== 'wiring' && new Set(data.runs.map(run => run.options[name])).size > 1);
}

function runsTable() {
  const options = differing(), figures = [...new Set(data.runs.flatMap(run => Object.keys(run.figures)))];
  const columns = [['run', false], ['wiring', false], ['trained', false], ['test accuracy', true], ['best', true], ['training accuracy', true],
    ['test loss', true], ['training time', true], ...figures.map(name => [name, true]), ...options.map(name => [name.replaceAll('_', ' '), false])];
  const rows = data.runs.map((run, place) => [
    el('span', {class: 'run'}, swatch(look(place).colour, look(place).dash), run.name),
    run.options.wiring || NOTHING,
    run.state.replaceAll(' ', '\u00a0'),
    percent(lastOf(run.curves.test_accuracy)), percent(bestOf(run.curves.test_accuracy)), percent(lastOf(run.curves.train_accuracy)),
    few(lastOf(run.curves.test_loss)), run.curves.seconds.length ? time(sum(run.curves.seconds)) : NOTHING,
    ...figures.map(name => run.figures[name] || NOTHING), ...options.map(name => run.options[name] || NOTHING),
  ]);
  const alone = data.runs.every(run => (run.options.wiring || run.name) === run.name);
  return alone ? table(columns.filter((_, place) => place !== 1), rows.map(row => row.filter((_, place) => place !== 1))) : table(columns, rows);
}
