// Line charts: axes with round numbers, curves, and a tooltip that says what lies under the pointer.

/** Round numbers from about `low` to about `high`. */
function ticks(low, high, count) {
  const raw = (high - low || Math.abs(high) || 1) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map(factor => factor * power).find(each => each >= raw * 0.999);
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-6; value += step) found.push(Number(value.toPrecision(12)));
  return found;
}

/**
 * A chart of `series`: {name, colour, dash, points: [[x, y], ...]}, y null where there is nothing.
 * `nearest`: the tooltip names the one line that is nearest to the pointer, instead of all.
 */
function lineChart(heading, series, {format = few, unit = 'epoch', nearest = false, height = 230, zero = false} = {}) {
  const host = el('div', {class: 'chart', role: 'img', 'aria-label': `${heading}: ${series.map(each => each.name).join(', ')}`});
  const drawn = series.map(each => ({...each, points: each.points.filter(([, y]) => y !== null && y !== undefined)}))
    .filter(each => each.points.length);
  const draw = () => {
    const width = host.clientWidth;
    if (width) host.replaceChildren(drawn.length ? picture(drawn, width, {format, unit, nearest, height, zero}) : el('p', {class: 'soft'}, 'nothing to show yet'));
  };
  new ResizeObserver(draw).observe(host);
  return el('div', {}, el('h3', {}, heading), host);
}

function picture(series, width, {format, unit, nearest, height, zero}) {
  const all = series.flatMap(each => each.points);
  const xs = all.map(([x]) => x), ys = all.map(([, y]) => y);
  const [first, last] = [Math.min(...xs), Math.max(...xs)];
  let [low, high] = [zero ? Math.min(0, ...ys) : Math.min(...ys), Math.max(...ys)];
  if (low === high) [low, high] = [low - Math.abs(low || 1) * 0.05, high + Math.abs(high || 1) * 0.05];
  else if (!zero) [low, high] = [low - (high - low) * 0.04, high + (high - low) * 0.04];
  const marks = ticks(low, high, 4);
  const left = 12 + Math.max(...marks.map(mark => format(mark).length)) * 6.8, right = 14, top = 10, below = 38;
  const x = value => left + (first === last ? 0.5 : (value - first) / (last - first)) * (width - left - right);
  const y = value => top + (1 - (value - low) / (high - low)) * (height - top - below);
  const root = svg('svg', {width, height});
  for (const mark of marks) {
    root.append(svg('line', {class: 'grid', x1: left, x2: width - right, y1: y(mark), y2: y(mark)}));
    root.append(svg('text', {class: 'soft', x: left - 6, y: y(mark) + 4, 'text-anchor': 'end'}, format(mark)));
  }
  const whole = first === last ? [first] : ticks(first, last, Math.max(2, Math.min(10, Math.floor(width / 60)))).filter(Number.isInteger);
  for (const mark of whole) root.append(svg('text', {class: 'soft', x: x(mark), y: height - below + 17, 'text-anchor': 'middle'}, String(mark)));
  root.append(svg('line', {class: 'axis', x1: left, x2: width - right, y1: height - below, y2: height - below}));
  root.append(svg('text', {class: 'soft', x: (left + width - right) / 2, y: height - 4, 'text-anchor': 'middle'}, unit));
  const lines = series.map(each => curve(each, x, y));
  root.append(...lines, hover(series, lines, {x, y, width, height, top, below, left, right, format, unit, nearest}));
  return root;
}

function curve({name, colour, dash, points}, x, y) {
  const path = points.map(([a, b], place) => `${place ? 'L' : 'M'}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join('');
  const group = svg('g', {'data-series': name}, svg('path', {class: 'curve', d: path, 'stroke-dasharray': dash, stroke: colour}));
  if (points.length <= 3) for (const [a, b] of points) group.append(svg('circle', {cx: x(a), cy: y(b), r: 3.5, fill: colour}));
  return group;
}

/** The area that follows the pointer. */
function hover(series, lines, frame) {
  const {x, y, width, height, top, below, left, right, format, unit, nearest} = frame;
  const places = [...new Set(series.flatMap(each => each.points.map(([a]) => a)))].sort((a, b) => a - b);
  const cross = svg('line', {class: 'cross', y1: top, y2: height - below, visibility: 'hidden'});
  const area = svg('rect', {class: 'area', x: left, y: top, width: Math.max(1, width - left - right), height: height - top - below, fill: 'transparent'});
  const leave = () => {
    cross.setAttribute('visibility', 'hidden');
    for (const line of lines) line.firstChild.classList.remove('faint', 'strong');
    unpoint();
  };
  area.addEventListener('pointermove', event => {
    const box = area.getBoundingClientRect();
    const px = event.clientX - box.left + left, py = event.clientY - box.top + top;
    const at = places.reduce((best, each) => Math.abs(x(each) - px) < Math.abs(x(best) - px) ? each : best);
    let rows = series.map((each, place) => ({each, place, value: (each.points.find(([a]) => a === at) || [])[1]})).filter(row => row.value !== undefined);
    if (nearest && rows.length) {
      const best = rows.reduce((one, other) => Math.abs(y(other.value) - py) < Math.abs(y(one.value) - py) ? other : one);
      rows = [best];
      lines.forEach((line, place) => {
        line.firstChild.classList.toggle('strong', place === best.place);
        line.firstChild.classList.toggle('faint', place !== best.place);
      });
    }
    cross.setAttribute('x1', x(at));
    cross.setAttribute('x2', x(at));
    cross.setAttribute('visibility', 'visible');
    point(event, `${unit} ${at}`, rows.map(({each, value}) => [swatch(each.colour, each.dash), each.name, format(value)]));
  });
  area.addEventListener('pointerleave', leave);
  return svg('g', {}, cross, area);
}
