"""A model bound to its update program: the module that holds both the model and the error synapses."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from compiler import UpdateProgram
from compiler.lowered import Layout
from runtime.errors import TrainingError
from runtime.executors import executor
from runtime.executors.executor import Executor

Place = tuple[Mapping[str, Any], str]


class Bound(nn.Module):
    """What runs a program's steps on the present values of its model and of its error synapses.

    The state dict holds the model under ``model.`` and every error synapse under ``synapses.``.

    Arguments:
        backend, streams: the executor. ``seed``: of the error synapses' first values.

    Raises:
        BackendError: no such backend, or a number of streams below 1 or above 256.
    """

    def __init__(self, program: UpdateProgram, backend: str, seed: int, streams: int | None) -> None:
        super().__init__()
        self.program = program
        self._execute: Executor = executor(backend, streams)
        self.model = program.model
        self._parameters_at = _places(program.model, "_parameters")
        self._buffers_at = _places(program.model, "_buffers")
        self.synapses = nn.ParameterDict()
        for name, value in program.start(seed).items():
            learns = program.error_parameters[name].learns
            self.synapses[_key(name)] = nn.Parameter(value, requires_grad=learns)
        self._synapses_at = {name: (self.synapses._parameters, _key(name)) for name in program.error_parameters}

    @property
    def backend(self) -> str:
        """The executor, as ``threads on 2 streams``."""
        return str(self._execute)

    def forward_parameters(self) -> Iterator[nn.Parameter]:
        """The model's parameters."""
        return self.model.parameters()

    def error_parameters(self) -> Iterator[nn.Parameter]:
        """Every error synapse; the fixed ones do not require a gradient, and optimisers leave them alone."""
        return iter(self.synapses.values())

    def error_synapses(self) -> dict[str, nn.Parameter]:
        """Error synapses by name: ``source->target``, or ``mirror:<forward parameter>``."""
        return {name: self.synapses[_key(name)] for name in self.program.error_parameters}

    def check_structure(self) -> None:
        """Refuse a model that has changed in ways that its traced step cannot see.

        Raises:
            TrainingError: modules or hooks have come or gone since the model was compiled.
        """
        if not self.program.structure.unchanged():
            raise TrainingError(
                "Modules or hooks inside the model have come or gone since it was compiled, and its traced step knows nothing of them. "
                "Compile or attach it again, or put hooks on the module around it."
            )

    def state_tensors(self, layout: Layout) -> list[Tensor]:
        """Parameters, buffers and error synapses as they are now, in a layout's order.

        Raises:
            TrainingError: the model has other parameters or buffers than when it was bound.
        """
        try:
            values = [at(self._parameters_at[name]) for name in layout.parameters]
            values += [at(self._buffers_at[name]) for name in layout.buffers]
            values += [at(self._synapses_at[name]) for name in layout.synapses]
        except KeyError as missing:
            raise TrainingError(
                f"The model's parameters or buffers have come or gone since its program was compiled: {missing} is not where it was. "
                "Compile or attach the model again."
            ) from None
        return values

    def taught(self, layout: Layout) -> list[Tensor]:
        """The parameters and error synapses that a layout's gradients belong to, in its order."""
        values = [at(self._parameters_at[name]) for name in layout.gradients]
        values += [at(self._synapses_at[name]) for name in layout.error_gradients]
        return values

    def buffers_of(self, layout: Layout) -> list[Tensor]:
        """The buffers that a step of a layout renews."""
        return [at(self._buffers_at[name]) for name in layout.new_buffers]


def _key(name: str) -> str:
    """An error parameter's name as a key of a ParameterDict, which admits no dots."""
    return name.replace(".", "/")


def _places(model: nn.Module, kind: str) -> dict[str, Place]:
    """Where each parameter or buffer lies: looked up once, so that a step need not walk the modules."""
    return {f"{path}.{key}".lstrip("."): (getattr(m, kind), key) for path, m in model.named_modules() for key in getattr(m, kind)}


def at(place: Place) -> Tensor:
    """What lies there now."""
    value: Tensor = place[0][place[1]]
    return value
