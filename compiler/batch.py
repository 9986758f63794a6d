"""Which axis holds the samples, where shapes alone cannot tell."""

import torch
from torch import Tensor, nn

from compiler.capture import Output, capture
from compiler.errorgraph import ErrorGraph
from compiler.errors import CompileError, EdgeError
from compiler.example import Inputs
from compiler.port import Port
from wiring import OUTPUT


def check_batch_axes(model: nn.Module, output: Output, inputs: Inputs, errors: ErrorGraph) -> None:
    """Capture a batch of twice the size and see which axis grows, if some site's shape admits two readings.

    Raises:
        EdgeError: a site whose errors an own synapse carries does not hold its samples in the first axis.
    """
    doubtful = [port for port in errors.carried() if port.site != OUTPUT and _doubtful(port)]
    if not doubtful:
        return
    try:
        twice = capture(model, _doubled(inputs, doubtful[0].batch), output)
    except CompileError as error:
        raise EdgeError(f"{_which(doubtful[0])} and a batch of twice the size cannot be captured to tell: {error}") from error
    nodes = {node.name: node for node in twice.graph.nodes}
    for port in doubtful:
        grown = nodes[errors.sites[port.site].z.name].meta["val"].shape
        if grown[0] != 2 * port.shape[0]:
            raise EdgeError(
                f"{_which(port)} and a batch of twice the size shows that it is not the first, so errors cannot be carried sample by sample. "
                "Use batch-first modules (batch_first=True), Mirror() synapses, or Sites(exclude=...)."
            )


def _doubtful(port: Port) -> bool:
    return port.shape[0] != port.batch or (len(port.shape) > 2 and port.channel != 1 and port.shape[1] == port.batch)


def _which(port: Port) -> str:
    return f"Site {port.site!r} has shape {list(port.shape)}, in which more than one axis could hold the {port.batch} samples,"


def _doubled(inputs: Inputs, batch: int) -> Inputs:
    """The inputs twice over along the axis that holds the samples (the first one of that length)."""

    def twice(value: object) -> object:
        if not isinstance(value, Tensor) or batch not in value.shape:
            return value
        return torch.cat([value, value], dim=list(value.shape).index(batch))

    return Inputs(tuple(map(twice, inputs.args)), {name: twice(value) for name, value in inputs.keywords().items()})
