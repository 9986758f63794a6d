"""The learner: an nn.Module that infers like the user's model and learns by its update program."""

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from compiler import InputError, UpdateProgram
from compiler.example import leaves_of
from compiler.joint import samples_input
from compiler.lowered import Lowered
from runtime.bound import Bound
from runtime.errors import BackendError, NonFiniteLoss
from runtime.executors.graph import Graph
from runtime.executors.included import Included, check_capturable


@dataclass(frozen=True)
class Learned:
    """The result of one step. ``loss`` and ``discrepancy`` are 0-dim; ``output`` is what the loss read, detached."""

    loss: Tensor
    output: Tensor
    discrepancy: Tensor


class Learner(Bound):
    """Runs an update program on its model.

    ``learn`` fills ``.grad`` of forward parameters and of learned error synapses; any ``torch.optim`` optimiser over
    ``parameters()`` does the rest. The state dict holds the model under ``model.`` and every error synapse under ``synapses.``.

    Arguments:
        program: from ``compile``.
        backend: the executor: ``"serial"``, ``"threads"`` (CPU), ``"streams"`` or ``"graph"`` (CUDA), ``"inductor"``, ``"auto"``.
        seed: of the error synapses' first values.
        streams: how many the schedule has; default: the executor's own choice.
        checks: look at every batch's labels and loss before anything is taken over. On a GPU each look waits for the device.

    Raises:
        BackendError: no such backend, or a number of streams below 1 or above 256.
    """

    def __init__(
        self, program: UpdateProgram, backend: str = "serial", seed: int = 0, streams: int | None = None, checks: bool = True
    ) -> None:
        super().__init__(program, backend, seed, streams)
        self.checks = checks
        self._optimizer: torch.optim.Optimizer | None = None
        self._lent: list[tuple[Tensor, int]] = []
        self._counts: dict[tuple[int, torch.device], Tensor] = {}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Plain inference through the user's own module."""
        return self.model(*args, **kwargs)

    def learn(self, x: Any, y: Any, samples: int | None = None) -> Learned:
        """One step on a batch: adds each update to ``.grad``, and takes over buffers such as batch statistics.

        In a world of several processes each of them calls this with its own shard; updates, loss and discrepancy are then those
        of the joint batch, the same on all ranks.

        Arguments:
            x: the model's inputs, in the form of the example: a tensor, a tuple of arguments, a dict of keywords.
            y: labels for the loss.
            samples: in a world, how many samples the shard counts for; default: as many as it has. 0 for a process that had to borrow
                one, as the joint batch had fewer samples than there are processes.

        Raises:
            NonFiniteLoss: the loss is infinite or not a number; no gradient and no buffer was changed (but by an optimiser
                included in a graph: that step has been taken). Looked for with ``checks`` only.
            BackendError: the backend cannot run this step; found out at the first step of each shape.
            InputError, LabelError: dtypes, ranks or label values that the program cannot take.
            EdgeError: a shape that the error synapses cannot serve.
            TrainingError: modules or hooks have come or gone since the model was compiled.
        """
        self.check_structure()
        lowered = self.program.step(x, y)
        inputs = self._inputs(lowered, x, y, samples)
        if self._optimizer is not None:
            return self._learn_whole(lowered, inputs)
        return self._learn_updates(lowered, inputs)

    def include(self, optimizer: torch.optim.Optimizer) -> None:
        """From now on ``learn`` ends with a step of the optimiser and leaves ``.grad`` to the next one.

        Under ``backend="graph"`` the optimiser is captured in the graph from its second step on (Adam and its like need
        ``capturable=True``), and the loss is looked at when the step has been taken. Settings that are plain numbers are part of
        the graph, so each change of one captures anew: for a schedule give ``lr`` as a tensor on the device (to SGD with
        ``fused=True``).

        Raises:
            BackendError: the optimiser cannot be captured, or is none.
        """
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise BackendError(f"A {type(optimizer).__name__} cannot be included in a step. Give an optimiser of torch.optim.")
        if self._execute.static:
            check_capturable(optimizer)
        self._optimizer = optimizer

    def _learn_whole(self, lowered: Lowered, inputs: Sequence[Tensor]) -> Learned:
        """A step with the optimiser's."""
        optimizer = self._optimizer
        assert optimizer is not None
        if isinstance(self._execute, Graph):
            included = Included(optimizer, itertools.chain(self.parameters(), self.buffers()))
            take = functools.partial(self._take, lowered, optimizer)
            learned = self._learned(self._execute.whole(lowered, inputs, take, included))
            if self.checks:
                _check(learned.loss, "The optimiser has taken this step already.")
            return learned
        optimizer.zero_grad()
        learned = self._learn_updates(lowered, inputs)
        optimizer.step()
        return learned

    def _learn_updates(self, lowered: Lowered, inputs: Sequence[Tensor]) -> Learned:
        """A step up to its updates in ``.grad``."""
        self._rescue()
        results = self._execute(lowered, inputs)
        learned = self._learned(results)
        if self.checks:
            _check(learned.loss, "Nothing of this step was taken over.")
        self._accept(lowered, results)
        return learned

    def _take(self, lowered: Lowered, optimizer: torch.optim.Optimizer, results: Sequence[Tensor]) -> None:
        for parameter in self.parameters():
            parameter.grad = None
        self._accept(lowered, results)
        optimizer.step()

    def _learned(self, results: Sequence[Tensor]) -> Learned:
        """Loss, output and discrepancy, copied where the next step overwrites them."""
        loss, output, discrepancy = (value.clone() for value in results[:3]) if self._execute.static else results[:3]
        return Learned(loss, output, discrepancy)

    def _rescue(self) -> None:
        """Copy updates that nobody has cleared out of memory that the next step overwrites."""
        for parameter, place in self._lent:
            if parameter.grad is not None and parameter.grad.data_ptr() == place:
                parameter.grad = parameter.grad.clone()

    def run(self, lowered: Lowered, x: Any, y: Any, samples: int | None = None) -> list[Tensor]:
        """Execute a traced step on the present parameters, changing nothing; results in the layout's order."""
        return self._execute(lowered, self._inputs(lowered, x, y, samples))

    def _inputs(self, lowered: Lowered, x: Any, y: Any, samples: int | None = None) -> list[Tensor]:
        """The program's inputs in the layout's order; labels are looked at."""
        labels = [leaf for leaf in leaves_of(y) if isinstance(leaf, Tensor)]
        for check in lowered.class_labels if self.checks else ():
            check.check(labels[check.leaf])
        return [*self.state_tensors(lowered.layout), *self.program.taken(x).tensors(), *labels, *self._counted(lowered, samples)]

    def _counted(self, lowered: Lowered, samples: int | None) -> list[Tensor]:
        """In a world the number of samples that this shard counts for, on the device that the step computes on."""
        if lowered.world is None:
            if samples not in (None, lowered.batch):
                raise InputError(
                    f"samples={samples} says what a shard of a joint batch counts for, but the program has one process and a batch of "
                    f"{lowered.batch}. Leave samples out, or compile with world=World(group, size)."
                )
            return []
        count = lowered.batch if samples is None else samples
        if count < 0:
            raise InputError(f"A shard cannot count for {count} samples. Pass samples=0 or more, or leave it out.")
        key = count, lowered.device
        if key not in self._counts:
            self._counts[key] = samples_input(count, lowered.device)
        return [self._counts[key]]

    def _accept(self, lowered: Lowered, results: Sequence[Tensor]) -> None:
        layout = lowered.layout
        taught, found = self.taught(layout), layout.by_kind(results)
        if self._execute.static:
            self._lent = [(parameter, update.data_ptr()) for parameter, update in zip(taught, found.updates, strict=True)]
        for parameter, update in zip(taught, found.updates, strict=True):
            _add(parameter, update)
        if layout.new_buffers:
            take_over(self.buffers_of(layout), found.new_buffers)

    def extra_repr(self) -> str:
        return f"wiring={self.program.wiring.name!r}, backend={self.backend!r}"


def _check(loss: Tensor, taken: str) -> None:
    """Raises NonFiniteLoss where a loss is no finite number; ``taken`` says what has become of the step."""
    if not math.isfinite(value := loss.item()):
        raise NonFiniteLoss(
            f"The loss is {value}.",
            f"{taken} Lower the learning rate, clip updates (reprojection=...), or look at the batch for non-finite numbers.",
        )


def _add(parameter: Tensor, update: Tensor) -> None:
    if parameter.grad is None:
        same = update.stride() == parameter.stride()
        parameter.grad = update if same else torch.empty_like(parameter).copy_(update)
    else:
        parameter.grad += update


def take_over(buffers: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """New values for buffers, all of one dtype in one launch: a GPU has less to do for sixty batch statistics than the host."""
    by_dtype: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    for buffer, value in zip(buffers, values, strict=True):
        for column, tensor in zip(by_dtype.setdefault(buffer.dtype, ([], [])), (buffer, value), strict=True):
            column.append(tensor)
    for old, new in by_dtype.values():
        torch._foreach_copy_(old, new)


def named_results(lowered: Lowered, results: list[Tensor]) -> Mapping[str, dict[str, Tensor]]:
    """A step's results by kind and name: ``gradients``, ``error_gradients``, ``new_buffers``, ``credits``."""
    layout, found = lowered.layout, lowered.layout.by_kind(results)
    updates = dict(zip(layout.taught, found.updates, strict=True))
    return {
        "gradients": {name: updates[name] for name in layout.gradients},
        "error_gradients": {name: updates[name] for name in layout.error_gradients},
        "new_buffers": dict(zip(layout.new_buffers, found.new_buffers, strict=True)),
        "credits": dict(zip(layout.credits, found.credits, strict=True)),
    }
