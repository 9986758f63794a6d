// What the run was asked for, and what made it.

function drawOptions() {
  const host = body('options'), run = theRun();
  const pairs = tree => el('dl', {class: 'pairs'}, Object.entries(tree).flatMap(([name, value]) => [el('dt', {}, name.replaceAll('_', ' ')), el('dd', {}, value)]));
  const parts = [];
  if (run.command) parts.push(el('p', {class: 'lead'}, 'The command that trains so:'), el('pre', {}, el('code', {}, run.command)));
  const columns = [];
  if (Object.keys(run.options).length) columns.push(el('div', {}, el('h3', {}, 'Options'), pairs(run.options)));
  if (Object.keys(run.versions).length) columns.push(el('div', {}, el('h3', {}, 'Made by'), pairs(run.versions)));
  if (!columns.length) parts.push(note('This run does not say how it was begun.'));
  host.replaceChildren(...parts, el('div', {class: 'columns'}, columns));
}
