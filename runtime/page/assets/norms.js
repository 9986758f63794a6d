// Norms of weights and error synapses over time, a line a tensor.

const DEPTHS = {light: [[26, 24, 92], [0, 114, 140], [196, 120, 0]], dark: [[120, 130, 255], [70, 190, 200], [255, 214, 90]]};

function depthColour(share) {
  const [low, middle, high] = DEPTHS[document.documentElement.dataset.theme === 'dark' ? 'dark' : 'light'];
  const [from, to, part] = share < 0.5 ? [low, middle, share * 2] : [middle, high, share * 2 - 1];
  return `rgb(${from.map((value, place) => Math.round(value + (to[place] - value) * part))})`;
}

let relative = false;

function drawNorms() {
  const host = body('norms'), run = theRun();
  if (!run.weights.names.length) return host.replaceChildren(note(run.unread ? 'The checkpoint could not be read, and the norms lie in it.' : 'No norms were measured in this run. Train with --watch, which is the default.'));
  const charts = el('div', {class: 'columns'});
  const draw = () => charts.replaceChildren(
    normChart('Weights', run.weights),
    ...(run.synapses.names.length ? [normChart('Error synapses', run.synapses)] : [el('div', {}, el('h3', {}, 'Error synapses'), el('p', {class: 'soft'}, 'This wiring has no error synapses of its own.'))]));
  host.replaceChildren(choice('Scale', [['norm', 'Norms'], ['relative', 'Over the first ones']], relative ? 'relative' : 'norm', value => { relative = value === 'relative'; draw(); }), charts,
    folded('The norms as a table', () => table([['tensor', false], ['first', true], ['last', true], ['last / first', true]],
      [run.weights, run.synapses].flatMap(({names, rows}) => names.map((name, at) => [name, few(rows[at][0]), few(lastOf(rows[at])), few(lastOf(rows[at]) / rows[at][0])])))));
  draw();
}

function normChart(heading, {epochs, names, rows}) {
  const series = names.map((name, at) => ({
    name, colour: depthColour(names.length > 1 ? at / (names.length - 1) : 0.5), dash: '',
    points: rows[at].map((norm, place) => [epochs[place], norm === null || !relative ? norm : norm / rows[at][0]]).filter(([, norm]) => Number.isFinite(norm)),
  }));
  return lineChart(relative ? `${heading}, over the first norm` : heading, series, {nearest: true, height: 280});
}
