// Angles to backpropagation as a heat map: a row a site, a column an epoch or a run.

const POLES = {light: [[8, 69, 138], [243, 243, 240], [138, 60, 0]], dark: [[110, 185, 250], [44, 50, 57], [255, 150, 70]]};

/** The colour of an angle: one pole at 0 degrees, neutral at 90, the other pole at 180. */
function heatColour(angle) {
  const [low, middle, high] = POLES[document.documentElement.dataset.theme === 'dark' ? 'dark' : 'light'];
  const [from, to, share] = angle <= 90 ? [low, middle, angle / 90] : [middle, high, (angle - 90) / 90];
  return from.map((value, place) => Math.round(value + (to[place] - value) * Math.min(1, share)));
}

function inkOn([red, green, blue]) {
  const [r, g, b] = [red, green, blue].map(value => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.18 ? '#14181c' : '#ffffff';
}

function drawHeat() {
  const host = body('alignment'), {angles, unread} = theRun();
  const parts = [];
  if (angles.names.length) {
    parts.push(heatLegend(), heatMap(angles.names, angles.epochs.map(epoch => ({short: String(epoch), long: `epoch ${epoch}`})), angles.rows, 'epoch'));
    parts.push(folded('The angles as a table', () => table([['site', false], ...angles.epochs.map(epoch => [`epoch ${epoch}`, true])], angles.names.map((name, at) => [name, ...angles.rows[at].map(degrees)]))));
  } else {
    parts.push(note(unread ? 'The checkpoint could not be read, and the angles lie in it.' : 'No angles were measured in this run. Train with --watch, which is the default; a run that goes on by --resume is measured from there on.'));
  }
  if (several) parts.push(...heatOfRuns());
  host.replaceChildren(...parts);
}

/** The last angles of every run beside each other. */
function heatOfRuns() {
  const runs = data.runs.map((run, place) => ({run, place})).filter(({run}) => run.angles.names.length);
  if (runs.length < 2) return [];
  const names = [...new Set(runs.flatMap(({run}) => run.angles.names))];
  const rows = names.map(name => runs.map(({run}) => {
    const row = run.angles.rows[run.angles.names.indexOf(name)];
    return row ? lastOf(row) : null;
  }));
  const columns = runs.map(({run}) => ({short: run.name, long: `${run.name}, epoch ${lastOf(run.angles.epochs)}`}));
  return [el('h3', {}, 'Every run at its end'), heatMap(names, columns, rows, 'run'),
    folded('These angles as a table', () => table([['site', false], ...runs.map(({run}) => [run.name, true])], names.map((name, at) => [name, ...rows[at].map(degrees)])))];
}

function heatLegend() {
  const width = 300, root = svg('svg', {width, height: 44, role: 'img', 'aria-label': 'Scale from 0 to 180 degrees, neutral at 90'});
  for (let place = 0; place < 60; place++) root.append(svg('rect', {x: 10 + place * (width - 20) / 60, y: 4, width: (width - 20) / 60 + 0.5, height: 12, fill: `rgb(${heatColour(place * 3 + 1.5)})`}));
  for (const mark of [0, 45, 90, 135, 180]) {
    const x = 10 + mark / 180 * (width - 20);
    root.append(svg('line', {class: 'axis', x1: x, x2: x, y1: mark === 90 ? 0 : 13, y2: 20, 'stroke-width': mark === 90 ? 2.5 : 1}));
    root.append(svg('text', {class: mark === 90 ? '' : 'soft', x, y: 34, 'text-anchor': mark ? mark === 180 ? 'end' : 'middle' : 'start'}, `${mark}\u00b0`));
  }
  const corner = svg('svg', {class: 'swatch', viewBox: '0 0 24 10', 'aria-hidden': 'true'}, svg('path', {d: 'M22 0l0 8l-8 -8Z', fill: 'var(--ink)'}));
  return el('div', {class: 'legend heat'}, root, el('span', {class: 'soft'}, corner, 'corner mark: above 90\u00b0, against the gradient'));
}

function heatMap(names, columns, rows, unit) {
  const host = el('div', {class: 'heat chart'});
  const draw = () => { if (host.clientWidth) host.replaceChildren(heatPicture(names, columns, rows, unit, host.clientWidth)); };
  new ResizeObserver(draw).observe(host);
  return host;
}

function heatPicture(names, columns, rows, unit, width) {
  const label = Math.min(width * 0.4, 14 + 6.6 * Math.max(...names.map(name => name.length)));
  const high = Math.min(20, Math.max(7, 720 / names.length)), wide = Math.min(64, (width - label - 4) / columns.length);
  const below = unit === 'epoch' ? 38 : 20, head = unit === 'epoch' ? 4 : 22;
  const root = svg('svg', {width, height: head + high * names.length + below, role: 'img', 'aria-label': `Angles of ${names.length} sites by ${unit}`});
  const letters = Math.floor((label - 12) / 6.6), skip = Math.ceil(10 / high);
  names.forEach((name, at) => {
    const y = head + high * at, short = name.length > letters ? `\u2026${name.slice(1 - letters)}` : name;
    if (at % skip === 0) root.append(svg('text', {class: high < 14 ? 'small' : null, x: label - 8, y: y + high / 2 + (high < 14 ? 3.2 : 4), 'text-anchor': 'end'}, short));
    rows[at].forEach((angle, place) => root.append(...heatCell(angle, name, columns[place].long, {x: label + wide * place, y, width: wide, height: high})));
  });
  const every = unit === 'epoch' ? Math.ceil(30 / wide) : 1;
  columns.forEach(({short}, place) => {
    if (place % every) return;
    const room = Math.max(2, Math.floor(wide / 6.6)), text = short.length > room ? `${short.slice(0, room - 1)}\u2026` : short;
    root.append(svg('text', {class: 'soft', x: label + wide * (place + 0.5), y: unit === 'epoch' ? head + high * names.length + 16 : 14, 'text-anchor': 'middle'}, text));
  });
  if (unit === 'epoch') root.append(svg('text', {class: 'soft', x: label + wide * columns.length / 2, y: head + high * names.length + 33, 'text-anchor': 'middle'}, unit));
  return root;
}

function heatCell(angle, name, when, place) {
  if (angle === null || angle === undefined) return [];
  const colour = heatColour(angle), ink = inkOn(colour);
  const parts = [svg('rect', {class: 'cell', ...place, fill: `rgb(${colour})`, 'data-site': name, 'data-angle': angle,
    onpointermove: event => point(event, name, [[null, when, degrees(angle)], [null, angle < 90 ? 'a small step still lowers the loss' : 'a small step would not lower the loss', '']]), onpointerleave: unpoint})];
  const {x, y, width, height} = place;
  if (width >= 26 && height >= 16) parts.push(svg('text', {x: x + width / 2, y: y + height / 2 + 4, 'text-anchor': 'middle', class: 'inside', fill: ink}, String(Math.round(angle))));
  const mark = Math.min(6, 0.6 * height);
  if (angle > 90) parts.push(svg('path', {class: 'inside', d: `M${x + width} ${y}l0 ${mark}l${-mark} ${-mark}Z`, fill: ink}));
  return parts;
}
