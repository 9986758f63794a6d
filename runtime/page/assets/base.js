// What every room uses: elements, numbers as text, the theme, the tooltip, and which run is looked at.

const data = JSON.parse(document.getElementById('data').textContent);
const several = data.runs.length > 1;
const TINTS = 8, DASHES = ['', '7 3', '2 3', '9 3 2 3'];

/** An element of HTML; texts become text nodes, never markup. */
function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** An element of SVG. */
function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'tint') element.style.color = value;
    else if (name === 'fill' || name === 'stroke') element.style[name] = value;
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat().filter(child => child !== null && child !== undefined));
  return element;
}

function body(section) {
  return document.querySelector(`#${section} > .body`);
}

/** What a run's lines look like: colour by its place, dashes once colours come round again. */
function look(place) {
  return {colour: `var(--run-${place % TINTS})`, dash: DASHES[Math.floor(place / TINTS) % DASHES.length]};
}

function swatch(colour, dash = '', width = 3) {
  const line = svg('line', {x1: 0, x2: 24, y1: 5, y2: 5, 'stroke-width': width, 'stroke-dasharray': dash, stroke: colour});
  return svg('svg', {class: 'swatch', viewBox: '0 0 24 10', 'aria-hidden': 'true'}, line);
}

// ------------------------------------------------------------------ numbers as text

const NOTHING = '\u2013';

function few(value, digits = 4) {
  if (value === null || value === undefined) return NOTHING;
  if (value === 0) return '0';
  const size = Math.abs(value);
  return size >= 1e5 || size < 1e-3 ? value.toExponential(2) : String(Number(value.toPrecision(digits)));
}

function percent(value) {
  return value === null || value === undefined ? NOTHING : `${(100 * value).toFixed(2)} %`;
}

function degrees(value) {
  return value === null || value === undefined ? NOTHING : `${value.toFixed(1)}\u00b0`;
}

function time(seconds) {
  if (seconds >= 60) return `${(seconds / 60).toFixed(1)} min`;
  if (seconds >= 1) return `${seconds.toFixed(1)} s`;
  return seconds >= 1e-3 ? `${(1e3 * seconds).toFixed(2)} ms` : `${(1e6 * seconds).toFixed(1)} \u00b5s`;
}

function size(shape) {
  return shape.length ? shape.join('\u00d7') : '1';
}

function times(text) {
  return text.replaceAll('x', '\u00d7');
}

/** A text whose parts between backticks are code. */
function prose(text) {
  return text.split('`').map((part, place) => place % 2 ? el('code', {}, part) : part);
}

// ------------------------------------------------------------------ theme

function themed(name) {
  document.documentElement.dataset.theme = name;
  document.getElementById('theme').textContent = name === 'dark' ? 'Light theme' : 'Dark theme';
  redraw('theme');
}

function startTheme() {
  const wish = matchMedia('(prefers-color-scheme: dark)');
  let chosen = false;
  document.getElementById('theme').addEventListener('click', () => {
    chosen = true;
    themed(document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark');
  });
  wish.addEventListener('change', () => { if (!chosen) themed(wish.matches ? 'dark' : 'light'); });
  themed(wish.matches ? 'dark' : 'light');
}

// ------------------------------------------------------------------ what is looked at, and who draws it again

const listeners = [];
let chosen = 0;

/** Call `draw` now and whenever one of `reasons` comes: 'run' (another run is picked), 'theme', 'width'. */
function whenever(reasons, draw) {
  listeners.push({reasons, draw});
  draw();
}

function redraw(reason) {
  for (const listener of listeners) if (listener.reasons.includes(reason)) listener.draw();
}

function theRun() {
  return data.runs[chosen];
}

function theProgram() {
  const run = theRun();
  return run.program === null ? null : data.programs[run.program];
}

function pick(place) {
  chosen = place;
  redraw('run');
}

/** Headings of what belongs to one run say to which. */
function drawNames() {
  for (const heading of document.querySelectorAll('.which')) heading.textContent = several ? `of ${theRun().name}` : '';
}

function note(text) {
  return el('p', {class: 'note'}, text);
}

// ------------------------------------------------------------------ tooltip

const tip = document.getElementById('tip');

/** Show a heading and lines of [swatch or null, name, value] beside the pointer, or beside an element that has the focus. */
function point(event, heading, rows) {
  const lines = rows.map(([mark, name, value]) =>
    el('div', {class: 'row'}, mark, el('span', {}, name), el('span', {}, value)));
  tip.replaceChildren(el('b', {}, heading), ...lines);
  tip.hidden = false;
  const at = event.clientX === undefined ? event.target.getBoundingClientRect() : {left: event.clientX, bottom: event.clientY};
  const left = at.left + 14 + tip.offsetWidth > innerWidth ? at.left - tip.offsetWidth - 10 : at.left + 14;
  const top = at.bottom + 14 + tip.offsetHeight > innerHeight ? at.bottom - tip.offsetHeight - 10 : at.bottom + 14;
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${Math.max(4, top)}px`;
}

function unpoint() {
  tip.hidden = true;
}

// ------------------------------------------------------------------ tables

/** A scrolling table. `columns`: [heading, whether numbers]; `rows`: lists of texts or elements. */
function table(columns, rows) {
  const cell = (kind, content, place) => el(kind, {class: columns[place][1] ? 'number' : place ? null : 'name'}, content);
  const head = columns.map(([heading], place) => el('th', {scope: 'col', class: columns[place][1] ? 'number' : null}, heading));
  const lines = rows.map(row => el('tr', {}, row.map((content, place) => cell('td', content, place))));
  return el('div', {class: 'scroll', tabindex: 0}, el('table', {}, el('thead', {}, el('tr', {}, head)), el('tbody', {}, lines)));
}

/** A table that is made when it is opened. */
function folded(summary, make) {
  const box = el('details', {}, el('summary', {}, summary));
  box.addEventListener('toggle', () => { if (box.open && box.children.length === 1) box.append(make()); });
  return box;
}

/** Buttons of which one is pressed. `choices`: [value, text]. */
function choice(label, choices, value, change) {
  const buttons = choices.map(([each, text]) => el('button', {
    type: 'button', 'data-value': each, 'aria-pressed': String(each === value),
    onclick: () => {
      for (const button of buttons) button.setAttribute('aria-pressed', String(button.dataset.value === String(each)));
      change(each);
    },
  }, text));
  return el('span', {role: 'group', 'aria-label': label, class: 'tools'}, buttons);
}
