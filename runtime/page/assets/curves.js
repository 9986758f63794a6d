// Loss, accuracy and discrepancy over epochs, of all runs at once.

const CURVES = [
  ['Loss', 'test_loss', 'train_loss', few, false],
  ['Accuracy', 'test_accuracy', 'train_accuracy', value => `${Number((100 * value).toFixed(2))} %`, false],
  ['Total discrepancy', null, 'discrepancy', few, true],
];

function drawCurves() {
  const host = body('curves');
  if (data.runs.every(run => !run.curves.epoch.length)) return host.append(note('No epoch has ended yet.'));
  const hidden = new Set();
  const charts = el('div', {class: 'columns'});
  const draw = () => charts.replaceChildren(...CURVES.map(([heading, test, train, format, zero]) =>
    lineChart(heading, seriesOf(test, train, hidden), {format, zero})));
  if (several) host.append(runLegend(hidden, draw));
  else host.append(el('ul', {class: 'legend'}, el('li', {}, swatch('var(--run-0)'), 'test'), el('li', {}, swatch('var(--run-1)', '5 4'), 'training, while learning')));
  host.append(charts, folded('The numbers', () => numbers()));
  draw();
}

function seriesOf(test, train, hidden) {
  const found = [];
  for (const [place, run] of data.runs.entries()) {
    if (hidden.has(place)) continue;
    const {colour, dash} = look(place);
    const points = name => run.curves.epoch.map((epoch, at) => [epoch, run.curves[name][at]]);
    const called = kind => several ? `${run.name}, ${kind}` : kind;
    if (test) found.push({name: called('test'), colour, dash, points: points(test)});
    const other = several ? colour : 'var(--run-1)';
    found.push({name: called('training'), colour: other, dash: '5 4', points: points(train)});
  }
  return found;
}

/** Which line is whose; a run can be left out. */
function runLegend(hidden, draw) {
  return el('ul', {class: 'legend'}, data.runs.map((run, place) => {
    const box = el('input', {type: 'checkbox', checked: true, onchange: () => {
      if (box.checked) hidden.delete(place); else hidden.add(place);
      draw();
    }});
    return el('li', {}, el('label', {}, box, ' ', swatch(look(place).colour, look(place).dash), run.name));
  }));
}

function numbers() {
  const columns = [...(several ? [['run', false]] : []), ['epoch', true], ['training loss', true], ['test loss', true], ['training accuracy', true],
    ['test accuracy', true], ['discrepancy', true], ['learning rate', true], ['seconds', true]];
  const rows = data.runs.flatMap(run => run.curves.epoch.map((epoch, at) => {
    const {train_loss, test_loss, train_accuracy, test_accuracy, discrepancy, learning_rate, seconds} = run.curves;
    return [...(several ? [run.name] : []), String(epoch), few(train_loss[at]), few(test_loss[at]), percent(train_accuracy[at]),
      percent(test_accuracy[at]), few(discrepancy[at]), few(learning_rate[at]), few(seconds[at])];
  }));
  return table(columns, rows);
}
