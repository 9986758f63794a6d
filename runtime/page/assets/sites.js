// Who waits for whom, whose weights are carried, and what a step costs: what `errorwire explain` says.

function drawSites() {
  const host = body('sites'), program = theProgram();
  if (!program) return host.replaceChildren(note(`This cannot be told. ${theRun().trouble}`));
  const {rows, figures, locking, trouble} = program.sites;
  if (trouble) return host.replaceChildren(note(trouble));
  const columns = [['site', false], ['activation', false], ['shape', false], ['block', false], ['hears', false], ['over', false], ['learned by', false], ['locking', false], ['error numbers', true]];
  const cells = rows.map(row => [row.site, row.activation, times(row.shape), row.block || NOTHING, row.hears || NOTHING, row.synapse || NOTHING, row.plasticity || NOTHING, row.locking, row.numbers.toLocaleString('en')]);
  host.replaceChildren(
    table([['quantity', false], ['value', false], ['details', false]], figures), el('h3', {}, 'Sites'), el('dl', {class: 'pairs'}, Object.entries(locking).flatMap(([name, text]) => [el('dt', {}, name), el('dd', {}, text)])), table(columns, cells));
}
