// The model with its error wiring: zoom, pan, a map for tall ones, and details of what is pointed at.

const MANY = 40; // sites; blocks are folded from here on

function drawGraph() {
  const host = body('wiring'), program = theProgram();
  if (!program) return host.replaceChildren(note(`There is no picture of this run's wiring. ${theRun().trouble}`));
  const {graph} = program;
  const panel = el('aside', {class: 'panel', 'aria-live': 'polite'});
  const stage = el('div', {class: 'stage'});
  const state = {graph, panel, stage, pinned: null, scale: 1, name: 'sites'};
  if (graph.views.blocks && Object.keys(graph.sites).length > MANY) state.name = 'blocks';
  host.replaceChildren(graphTools(state), legendOf(graph), el('div', {class: 'graph'}, stage, panel));
  showView(state);
}

function legendOf(graph) {
  const arrow = (mark, filled) => svg('svg', {class: 'swatch', viewBox: '0 0 24 10', 'aria-hidden': 'true'}, mark, filled);
  const wires = graph.styles.map(style => el('li', {}, el('span', {tint: `var(--wire-${style.colour})`}, arrow(
    svg('path', {class: style.dashed ? 'wire dashed' : 'wire', d: 'M2 5L18 5'}),
    svg('path', {class: 'head', d: 'M24 5L16 1.2L16 8.8Z M4.5 5A2.5 2.5 0 1 0 -0.5 5A2.5 2.5 0 1 0 4.5 5'}))), `${style.label} (${style.count})`));
  const forward = arrow(svg('path', {class: 'link', d: 'M0 5L23 5'}), svg('path', {class: 'link', d: 'M18 1.5L23 5L18 8.5'}));
  return el('ul', {class: 'legend'}, wires, el('li', {}, forward, 'forward pass'), el('li', {class: 'soft'}, graph.subtitle));
}

function graphTools(state) {
  const names = Object.keys(state.graph.sites);
  const find = el('input', {type: 'search', placeholder: 'Find a site', 'aria-label': 'Find a site', list: 'names', size: 16});
  find.addEventListener('change', () => { if (names.includes(find.value)) reveal(state, find.value); });
  const list = el('datalist', {id: 'names'}, names.map(name => el('option', {value: name})));
  const button = (text, label, act) => el('button', {type: 'button', 'aria-label': label, title: label, onclick: act}, text);
  state.level = el('span', {class: 'soft', id: 'zoom'});
  const views = state.graph.views.blocks
    ? choice('Level of detail', [['blocks', 'Blocks'], ['sites', 'Every site']], state.name, name => { state.name = name; showView(state); }) : null;
  state.views = views;
  return el('div', {class: 'tools'}, views, find, list, el('span', {class: 'gap'}),
    button('\u2212', 'Smaller', () => zoom(state, state.scale / 1.25)), state.level, button('+', 'Larger', () => zoom(state, state.scale * 1.25)),
    button('Whole', 'Show the whole picture', () => zoom(state, whole(state))), button('1:1', 'Original size', () => zoom(state, 1)));
}

/** The scale at which all of it can be seen. */
function whole({port, view}) {
  return Math.min(port.clientWidth / view.width, (port.clientHeight - 4) / view.height);
}

function showView(state) {
  const view = state.view = state.graph.views[state.name];
  state.pinned = null;
  state.root = graphPicture(view, state);
  state.port = el('div', {class: 'port', tabindex: -1, 'aria-label': 'Picture of the wiring'}, state.root);
  state.stage.replaceChildren(state.port);
  pan(state);
  const start = Math.min(1.2, state.port.clientWidth / view.width);
  state.port.style.height = `${Math.min(640, Math.max(260, view.height * start + 4))}px`;
  state.map = view.height * start > 900 ? overviewMap(state) : null;
  if (state.map) state.stage.append(state.map);
  zoom(state, start);
  state.port.scrollTo((view.width * start - state.port.clientWidth) / 2, 0);
  state.port.addEventListener('scroll', () => follow(state));
  showHint(state);
}

function graphPicture(view, state) {
  const root = svg('svg', {viewBox: `0 0 ${view.width} ${view.height}`, role: 'group', 'aria-label': state.graph.title});
  for (const frame of view.frames) {
    root.append(svg('rect', {class: `frame d${Math.min(frame.depth, 2)}`, x: frame.x, y: frame.y, width: frame.width, height: frame.height, rx: 9}));
  }
  for (const link of view.links) {
    root.append(svg('path', {class: 'link', d: link.path}), svg('path', {class: 'link', d: 'M-6 -3.6L0 0L-6 3.6', transform: placed(link.head)}));
  }
  for (const wire of view.wires) root.append(svg('path', {class: 'rim', d: wire.path}));
  for (const wire of view.wires) root.append(wirePicture(wire, state));
  for (const frame of view.frames) root.append(svg('text', {class: 'framelabel', x: frame.label[0], y: frame.label[1]}, frame.name));
  for (const box of view.boxes) root.append(boxPicture(box, state));
  root.addEventListener('click', event => { if (!event.target.closest('.box')) pin(state, null); });
  return root;
}

function placed([x, y, angle]) {
  return `translate(${x} ${y}) rotate(${angle})`;
}

function wirePicture(wire, state) {
  const style = state.graph.styles[wire.style];
  const lines = [
    svg('path', {class: style.dashed ? 'wire dashed' : 'wire', d: wire.path}),
    svg('path', {class: 'head', d: 'M0 0L-9 -4.6L-9 4.6Z', transform: placed(wire.head)}),
    svg('circle', {class: 'tail', cx: wire.tail[0], cy: wire.tail[1], r: 3.2}),
  ];
  return svg('g', {class: 'error', 'data-from': wire.from, 'data-to': wire.to, tint: `var(--wire-${style.colour})`,
    onpointermove: event => point(event, `${wire.to} hears ${wire.from}`, [[null, wire.tip.split(': ').slice(1).join(': '), '']]), onpointerleave: unpoint}, lines);
}

function boxPicture(box, state) {
  const {x, y, width, height} = box;
  const round = box.kind === 'input' || box.kind === 'junction' ? height / 2 : 6;
  const parts = [svg('rect', {x, y, width, height, rx: round})];
  if (box.kind === 'junction') parts.push(svg('text', {x: x + width / 2, y: y + height / 2, 'text-anchor': 'middle'}, box.heading));
  else {
    const first = box.text ? y + height * 0.3 : y + height / 2;
    parts.push(svg('text', {class: 'heading', x: x + 9, y: first}, box.heading), svg('text', {x: x + width - 9, y: first, 'text-anchor': 'end'}, times(box.shape)));
    if (box.text) parts.push(svg('text', {class: 'soft', x: x + 9, y: y + height * 0.74}, box.text));
  }
  const said = [box.heading, box.shape, box.text, box.frozen ? 'frozen' : ''].filter(Boolean).join(', ');
  return svg('g', {class: `box ${box.kind}${box.frozen ? ' frozen' : ''}`, tabindex: 0, role: 'button', 'aria-label': said, 'data-name': box.name,
    onpointerenter: () => { if (!state.pinned) showBox(state, box); }, onpointerleave: () => { if (!state.pinned) showHint(state); },
    onfocus: () => { if (!state.pinned) showBox(state, box); }, onclick: () => pin(state, box),
    onkeydown: event => {
      if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); pin(state, box); }
      if (event.key === 'Escape') pin(state, null);
    }}, parts);
}

// ------------------------------------------------------------------ zoom and pan

function zoom(state, scale) {
  const {port, root, view} = state;
  const middle = [(port.scrollLeft + port.clientWidth / 2) / state.scale, (port.scrollTop + port.clientHeight / 2) / state.scale];
  state.scale = Math.min(4, Math.max(0.05, scale));
  root.setAttribute('width', view.width * state.scale);
  root.setAttribute('height', view.height * state.scale);
  port.scrollTo(middle[0] * state.scale - port.clientWidth / 2, middle[1] * state.scale - port.clientHeight / 2);
  state.level.textContent = `${Math.round(100 * state.scale)} %`;
  follow(state);
}

/** Drag to move; with Ctrl or a pinch the wheel zooms, else it scrolls as everywhere. */
function pan(state) {
  const {port} = state;
  let from = null;
  port.addEventListener('wheel', event => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoom(state, state.scale * Math.exp(-event.deltaY / 300));
  }, {passive: false});
  port.addEventListener('pointerdown', event => {
    if (event.pointerType === 'touch' || event.button) return;
    from = [event.clientX + port.scrollLeft, event.clientY + port.scrollTop];
  });
  port.addEventListener('pointermove', event => {
    if (!from || !event.buttons) return;
    port.classList.add('dragging');
    port.scrollTo(from[0] - event.clientX, from[1] - event.clientY);
  });
  for (const end of ['pointerup', 'pointerleave']) port.addEventListener(end, () => { from = null; port.classList.remove('dragging'); });
}

/** A small picture of a tall one: where the view is, and a way to go elsewhere. */
function overviewMap(state) {
  const {view, port} = state;
  const height = Math.min(port.clientHeight - 16 || 600, 66 * view.height / view.width * 2.2);
  const map = svg('svg', {class: 'map', viewBox: `0 0 ${view.width} ${view.height}`, preserveAspectRatio: 'none', height, 'aria-hidden': 'true'});
  for (const frame of view.frames) map.append(svg('rect', {class: `frame d${Math.min(frame.depth, 2)}`, x: frame.x, y: frame.y, width: frame.width, height: frame.height}));
  for (const box of view.boxes) map.append(svg('rect', {class: 'site', x: box.x, y: box.y, width: box.width, height: box.height}));
  state.seen = svg('rect', {class: 'seen'});
  map.append(state.seen);
  const go = event => {
    const place = map.getBoundingClientRect();
    port.scrollTop = (event.clientY - place.top) / place.height * view.height * state.scale - port.clientHeight / 2;
  };
  map.addEventListener('pointerdown', event => { map.setPointerCapture(event.pointerId); go(event); });
  map.addEventListener('pointermove', event => { if (event.buttons) go(event); });
  return map;
}

function follow({map, seen, port, scale, view}) {
  if (!map) return;
  const place = {x: port.scrollLeft / scale, y: port.scrollTop / scale, width: Math.min(view.width, port.clientWidth / scale), height: Math.min(view.height, port.clientHeight / scale)};
  for (const [name, value] of Object.entries(place)) seen.setAttribute(name, value);
}

/** Scroll to a site and keep its details. */
function reveal(state, name) {
  if (!state.view.boxes.some(box => box.name === name)) {
    state.name = 'sites';
    state.views.querySelector('[data-value="sites"]').click();
  }
  const box = state.view.boxes.find(each => each.name === name);
  state.port.scrollTo((box.x + box.width / 2) * state.scale - state.port.clientWidth / 2, (box.y + box.height / 2) * state.scale - state.port.clientHeight / 2);
  pin(state, box);
}

// ------------------------------------------------------------------ details

function pin(state, box) {
  state.pinned = box;
  if (box) showBox(state, box); else showHint(state);
}

function marked(state, box) {
  state.root.classList.toggle('picked', Boolean(box));
  const senders = new Set();
  for (const wire of state.root.querySelectorAll('.error')) {
    const on = Boolean(box) && (wire.dataset.to === box.name || box.kind === 'output' && wire.dataset.from === box.name);
    wire.classList.toggle('on', on);
    if (on) senders.add(wire.dataset.from);
  }
  for (const each of state.root.querySelectorAll('.box')) {
    each.classList.toggle('on', Boolean(box) && each.dataset.name === box.name);
    each.classList.toggle('sends', Boolean(box) && senders.has(each.dataset.name) && each.dataset.name !== box.name);
  }
}

function showHint(state) {
  marked(state, null);
  state.panel.replaceChildren(el('h3', {}, state.graph.title), el('p', {}, state.graph.caption.join(' ')),
    el('p', {class: 'soft'}, 'Point at a box for shapes, parameters and the formulas of its rule. Drag to move the picture; the wheel zooms with Ctrl.'));
}

function showBox(state, box) {
  marked(state, box);
  const site = state.graph.sites[box.name], members = state.graph.members[box.name];
  const heading = el('h3', {}, box.heading), line = el('p', {class: 'soft'}, [kindOf(box, members), box.shape && `shape ${times(box.shape)}`, box.frozen && 'frozen'].filter(Boolean).join(', '));
  if (state.name === 'blocks' && members && !(site && box.kind !== 'site')) return state.panel.replaceChildren(heading, line, ...blockDetails(state, members));
  state.panel.replaceChildren(heading, line, ...(site ? siteDetails(site, box, state.graph) : []));
}

function kindOf(box, members) {
  if (members && box.text.endsWith('sites')) return 'block';
  return {input: 'the model\u2019s input', site: 'site', junction: 'a value that several regions read', output: 'the model\u2019s output'}[box.kind];
}

function blockDetails(state, members) {
  const lines = members.map(name => el('li', {}, name, ` (${size(state.graph.sites[name].shape.slice(1))}), hears ${state.graph.sites[name].hears.map(edge => edge.source).join(', ') || 'nobody'}`));
  return [el('h4', {}, 'Sites inside'), el('ul', {}, lines), el('button', {type: 'button', onclick: () => reveal(state, members[0])}, 'Show its sites')];
}

function siteDetails(site, box, {words, signals, updates}) {
  const formula = key => [el('p', {}, el('code', {}, words[key][0])), ...words[key][1].split('\n\n').map(text => el('p', {class: 'formula'}, ...prose(text.replaceAll('\n', ' '))))];
  const found = [el('h4', {}, 'Computes'), el('p', {}, box.text || box.heading)];
  if (site.parameters.length) found.push(el('h4', {}, 'Learns'), el('ul', {}, site.parameters.map(([name, shape]) => el('li', {}, el('code', {}, name), ` ${size(shape)}`))));
  for (const edge of site.hears) {
    found.push(el('h4', {}, `Hears ${edge.source}` + (edge.kind === 'skip' ? ' (skip edge)' : '')), ...formula(edge.synapse));
    if (edge.shape) found.push(el('p', {}, 'Error synapse of shape ', el('code', {}, size(edge.shape))));
    for (const [name, shape] of edge.mirrored) found.push(el('p', {}, 'Stands for ', el('code', {}, name), ` ${size(shape)}`));
    if (edge.plasticity !== null) found.push(el('h5', {}, 'which learns by'), ...formula(edge.plasticity));
  }
  if (site.signal) found.push(el('p', {}, ...prose(signals[site.signal])));
  if (site.topology !== undefined) found.push(el('h4', {}, 'Topology'), ...formula(site.topology));
  if (site.credit !== undefined) found.push(el('h4', {}, 'Credit'), ...formula(site.credit));
  found.push(el('h4', {}, 'Update'), el('p', {}, ...prose(updates[site.update]), site.summed ? ' Summed over the batch.' : ''));
  const {angles} = theRun(), row = angles.rows[angles.names.indexOf(box.name)];
  if (row) found.push(el('h4', {}, 'Angle to backpropagation'), el('p', {}, `${degrees(lastOf(row))} behind epoch ${lastOf(angles.epochs)}`));
  return found;
}
