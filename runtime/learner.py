"""The learner: an nn.Module that infers like the user's model and learns by its update program."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor, nn

from compiler import Inputs, UpdateProgram
from compiler.lower import Lowered
from runtime.errors import NonFiniteLoss
from runtime.executors import executor


@dataclass(frozen=True)
class Learned:
    """The result of one step. ``loss`` and ``discrepancy`` are 0-dim; ``output`` is what the loss read, detached."""

    loss: Tensor
    output: Tensor
    discrepancy: Tensor


class Learner(nn.Module):
    """Runs an update program on its model.

    ``learn`` fills ``.grad`` of forward parameters and of learned error synapses; any ``torch.optim`` optimiser over
    ``parameters()`` does the rest. The state dict holds the model under ``model.`` and every error synapse under ``synapses.``.

    Arguments:
        program: from ``compile``.
        backend: the executor, ``"serial"``.
        seed: of the error synapses' first values.

    Raises:
        BackendError: no such backend.
    """

    def __init__(self, program: UpdateProgram, backend: str = "serial", seed: int = 0) -> None:
        super().__init__()
        self.program = program
        self.backend = backend
        self._execute = executor(backend)
        self.model = program.model
        self._parameters_at = _places(program.model, "_parameters")
        self._buffers_at = _places(program.model, "_buffers")
        self.synapses = nn.ParameterDict()
        for name, value in program.start(seed).items():
            learns = program.error_parameters[name].learns
            self.synapses[_key(name)] = nn.Parameter(value, requires_grad=learns)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Plain inference through the user's own module."""
        return self.model(*args, **kwargs)

    def forward_parameters(self) -> Iterator[nn.Parameter]:
        """The model's parameters."""
        return self.model.parameters()

    def error_parameters(self) -> Iterator[nn.Parameter]:
        """Every error synapse; the fixed ones do not require a gradient, and optimisers leave them alone."""
        return iter(self.synapses.values())

    def error_synapses(self) -> dict[str, nn.Parameter]:
        """Error synapses by name: ``source->target``, or ``mirror:<forward parameter>``."""
        return {name: self.synapses[_key(name)] for name in self.program.error_parameters}

    def learn(self, x: Any, y: Any) -> Learned:
        """One step on a batch: adds each update to ``.grad``, and takes over buffers such as batch statistics.

        Arguments:
            x: the model's inputs, in the form of the example: a tensor, a tuple of arguments, a dict of keywords.
            y: labels for the loss.

        Raises:
            NonFiniteLoss: the loss is infinite or not a number; no gradient and no buffer was changed.
            InputError, LabelError: dtypes, ranks or label values that the program cannot take.
            EdgeError: a shape that the error synapses cannot serve.
        """
        lowered = self.program.step(x, y)
        results = self.run(lowered, x, y)
        loss, output, discrepancy = results[:3]
        if not torch.isfinite(loss):
            raise NonFiniteLoss(
                f"The loss is {loss.item()}. Nothing of this step was taken over. Lower the learning rate, clip updates "
                "(reprojection=...), or look at the batch for non-finite numbers."
            )
        self._accept(lowered, results)
        return Learned(loss, output, discrepancy)

    def run(self, lowered: Lowered, x: Any, y: Any) -> list[Tensor]:
        """Execute a traced step on the present parameters, changing nothing; results in the layout's order."""
        layout = lowered.layout
        labels = [leaf for leaf in pytree.tree_leaves(y) if isinstance(leaf, Tensor)]
        for check in lowered.class_labels:
            check.check(labels[check.leaf])
        inputs = [_at(self._parameters_at[name]) for name in layout.parameters]
        inputs += [_at(self._buffers_at[name]) for name in layout.buffers]
        inputs += [self.synapses[_key(name)] for name in layout.synapses]
        return list(self._execute(lowered, [*inputs, *Inputs.of(x).tensors(), *labels]))

    def _accept(self, lowered: Lowered, results: list[Tensor]) -> None:
        layout = lowered.layout
        rest = iter(results[3:])
        with torch.no_grad():
            for name in layout.gradients:
                _add(_at(self._parameters_at[name]), next(rest))
            for name in layout.error_gradients:
                _add(self.synapses[_key(name)], next(rest))
            for name in layout.new_buffers:
                _at(self._buffers_at[name]).copy_(next(rest))

    def extra_repr(self) -> str:
        return f"wiring={self.program.wiring.name!r}, backend={self.backend!r}"


def _key(name: str) -> str:
    """An error parameter's name as a key of a ParameterDict, which admits no dots."""
    return name.replace(".", "/")


def _add(parameter: Tensor, update: Tensor) -> None:
    if parameter.grad is None:
        parameter.grad = update
    else:
        parameter.grad += update


Place = tuple[dict[str, Tensor], str]


def _places(model: nn.Module, kind: str) -> dict[str, Place]:
    """Where each parameter or buffer lies: looked up once, so that a step need not walk the modules."""
    return {f"{path}.{key}".lstrip("."): (getattr(m, kind), key) for path, m in model.named_modules() for key in getattr(m, kind)}


def _at(place: Place) -> Tensor:
    return place[0][place[1]]


def named_results(lowered: Lowered, results: list[Tensor]) -> Mapping[str, dict[str, Tensor]]:
    """A step's results by kind and name: ``gradients``, ``error_gradients``, ``new_buffers``, ``credits``."""
    rest = iter(results[3:])
    kinds = ("gradients", "error_gradients", "new_buffers", "credits")
    return {kind: {name: next(rest) for name in getattr(lowered.layout, kind)} for kind in kinds}
