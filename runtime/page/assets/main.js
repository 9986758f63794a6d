// The page, from top to bottom.

function drawHead() {
  document.getElementById('title').textContent = data.title;
  const one = data.runs[0], facts = several ? [] : [one.name, one.options.data && `data ${one.options.data}`, one.options.seed && `seed ${one.options.seed}`];
  const shared = several && data.runs.every(run => run.options.data === one.options.data) && one.options.data ? [`data ${one.options.data}`] : [];
  document.getElementById('subtitle').textContent = [...facts, ...shared].filter(Boolean).join(' \u00b7 ');
  document.getElementById('foot').textContent = `Written by errorwire ${data.errorwire} report.`;
  const names = {overview: 'Overview', curves: 'Curves', wiring: 'Wiring', sites: 'Locking and cost', schedule: 'Schedule', alignment: 'Alignment', norms: 'Norms', options: 'Options'};
  document.getElementById('nav').append(...Object.entries(names).map(([id, text]) => el('li', {}, el('a', {href: `#${id}`}, text))));
  const picker = document.getElementById('run');
  picker.append(...data.runs.map((run, place) => el('option', {value: place}, run.name)));
  picker.addEventListener('change', () => pick(Number(picker.value)));
  document.getElementById('picker').hidden = !several;
}

drawHead();
startTheme();
drawOverview();
drawCurves();
whenever(['run'], drawNames);
whenever(['run'], drawGraph);
whenever(['run'], drawSites);
whenever(['run'], drawLanes);
whenever(['run', 'theme'], drawHeat);
whenever(['run', 'theme'], drawNorms);
whenever(['run'], drawOptions);
document.documentElement.dataset.drawn = 'yes';
