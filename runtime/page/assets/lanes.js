// The schedule: a lane a stream, a bar a task.

const KINDS = {forward: 'forward pass', loss: 'loss and signal', transmit: 'transmissions', credit: 'credit', update: 'updates', plasticity: 'plasticity', other: 'other'};
const LANE = 40, BAR = 24, DARK = ['transmit', 'update', 'other', 'loss'];

function drawLanes() {
  const host = body('schedule'), program = theProgram();
  if (!program) return host.replaceChildren(note(`There is no schedule. ${theRun().trouble}`));
  const {lanes} = program;
  const state = {lanes, streams: '2', zoom: 1, critical: new Set(lanes.critical)};
  const names = el('div', {class: 'names'}), stage = el('div', {class: 'time', tabindex: 0});
  const draw = () => lanePicture(state, names, stage);
  const magnify = factor => { state.zoom = Math.min(64, Math.max(1, state.zoom * factor)); draw(); };
  const one = lanes.streams[1].seconds;
  const kinds = [...new Set(lanes.tasks.map(task => task.kind))].sort((a, b) => Object.keys(KINDS).indexOf(a) - Object.keys(KINDS).indexOf(b));
  const legend = kinds.map(kind => el('li', {}, swatch(`var(--task-${kind})`, '', 10), KINDS[kind]));
  const path = svg('svg', {class: 'swatch', viewBox: '0 0 24 10', 'aria-hidden': 'true'}, svg('rect', {class: 'long', y: 4, width: 24, height: 3}));
  const choices = Object.entries(lanes.streams).map(([streams, {seconds}]) => [streams, `${streams} stream${streams === '1' ? '' : 's'}: ${time(seconds)}` + (streams === '1' ? '' : ` (${(one / seconds).toFixed(2)}\u00d7)`)]);
  host.replaceChildren(
    el('div', {class: 'tools'}, choice('Streams', choices, state.streams, streams => { state.streams = streams; draw(); }), el('span', {class: 'gap'}),
      el('button', {type: 'button', 'aria-label': 'Shorter', onclick: () => magnify(1 / 1.6)}, '\u2212'), el('button', {type: 'button', 'aria-label': 'Longer', onclick: () => magnify(1.6)}, '+')),
    el('ul', {class: 'legend'}, legend, el('li', {}, path, 'on the critical path'), el('li', {class: 'soft'}, `predicted for ${lanes.device}`)),
    el('div', {class: 'lanes'}, names, stage),
    folded('The tasks as a table', () => taskTable(lanes)));
  new ResizeObserver(draw).observe(stage);
}

function lanePicture(state, names, stage) {
  const {lanes, streams, zoom} = state, {spans, seconds} = lanes.streams[streams];
  const inner = stage.clientWidth;
  if (!inner) return;
  const width = inner * zoom, longest = lanes.streams[1].seconds || 1, x = value => 4 + value / longest * (width - 74);
  const height = 8 + LANE * Number(streams) + 34, root = svg('svg', {width, height, role: 'img', 'aria-label': `Schedule on ${streams} streams`});
  const busy = Array(Number(streams)).fill(0);
  for (const mark of ticks(0, longest, Math.max(3, Math.round(width / 130)))) {
    root.append(svg('line', {class: 'grid', x1: x(mark), x2: x(mark), y1: 6, y2: height - 26}));
    root.append(svg('text', {class: 'soft', x: x(mark), y: height - 9, 'text-anchor': mark ? 'middle' : 'start'}, mark ? time(mark) : '0'));
  }
  const bars = new Map();
  for (const [number, stream, start] of spans) {
    const task = lanes.tasks[number];
    busy[stream] += task.seconds;
    const bar = taskBar(task, number, {x: x(start), y: 8 + LANE * stream + (LANE - BAR) / 2, width: Math.max(0.8, x(start + task.seconds) - x(start))}, state.critical.has(number));
    const light = on => { for (const other of task.waits) if (bars.has(other)) bars.get(other).classList.toggle('before', on); bar.classList.toggle('on', on); };
    bar.addEventListener('pointermove', event => { light(true); point(event, task.name, taskRows(task, start, stream, lanes, state.critical.has(number))); });
    bar.addEventListener('pointerleave', () => { light(false); unpoint(); });
    bars.set(number, bar);
    root.append(bar);
  }
  const end = x(seconds);
  root.append(svg('line', {class: 'axis', x1: end, x2: end, y1: 4, y2: height - 26}), svg('text', {x: end + 6, y: 8 + LANE / 2 + 4}, time(seconds)));
  names.replaceChildren(...busy.map((sum, stream) => el('div', {}, el('b', {}, `stream ${stream}`), `${seconds ? Math.round(100 * sum / seconds) : 0} % busy`)));
  stage.replaceChildren(root);
}

function taskBar(task, number, {x, y, width}, critical) {
  const parts = [svg('rect', {x, y, width, height: BAR, fill: `var(--task-${task.kind})`})];
  const said = task.name.split(':').slice(1).join(':') || task.name, room = Math.floor((width - 6) / 6.1);
  if (room >= Math.min(4, said.length)) parts.push(svg('text', {x: x + 3, y: y + BAR / 2 + 3.5}, said.length > room ? `\u2026${said.slice(1 - room)}` : said));
  if (critical) parts.push(svg('rect', {class: 'long', x, y: y + BAR + 1, width, height: 3}));
  return svg('g', {class: DARK.includes(task.kind) ? 'task light' : 'task', 'data-task': number}, parts);
}

function taskRows(task, start, stream, lanes, critical) {
  const waits = task.waits.map(number => lanes.tasks[number].name);
  const shown = waits.slice(0, 4).join(', ') + (waits.length > 4 ? ` and ${waits.length - 4} more` : '');
  return [[null, 'takes', time(task.seconds)], [null, 'starts at', time(start)], [null, 'stream', String(stream)], [null, 'waits for', shown || 'nothing'],
    ...(critical ? [[null, 'on the critical path', '']] : [])];
}

function taskTable(lanes) {
  const columns = [['task', false], ['kind', false], ['predicted', true], ['waits for', false]];
  return table(columns, lanes.tasks.map(task => [task.name, KINDS[task.kind], time(task.seconds), task.waits.map(number => lanes.tasks[number].name).join(', ') || NOTHING]));
}
