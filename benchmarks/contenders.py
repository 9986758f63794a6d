"""What is timed side by side: backpropagation as anybody writes it, compiled by torch.compile, and learners.

A step is forward, loss and every update, without an optimiser; for backpropagation forward, loss and backward.
"""

import copy
import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from compiler import UpdateProgram
from compiler.cost import flops
from runtime import Learner

EAGER, COMPILED = "eager BP", "torch.compile BP"


@dataclass(frozen=True)
class Contender:
    """``step`` is timed, ``clear`` lets go of the gradients in front of it. ``arrangement``: what holds around both.

    Of a learner: ``wiring``, ``shown`` (the executor in words), ``floor`` (FLOPs over backpropagation's) and ``backend``, which says
    what ``auto`` has picked.
    """

    name: str
    step: Callable[[], Any]
    clear: Callable[[], None]
    arrangement: Callable[[], AbstractContextManager[Any]] = nullcontext
    wiring: str | None = None
    shown: str | None = None
    floor: float | None = None
    backend: Callable[[], str | None] = lambda: None


def loss(model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, autocast: torch.dtype | None) -> Tensor:
    """Forward and loss, in mixed precision where a dtype is given."""
    with torch.autocast(x.device.type, dtype=autocast, enabled=autocast is not None):
        return nn.functional.cross_entropy(model(x), y)


@dataclass(frozen=True)
class Batch:
    """Inputs, labels, and the dtype of mixed precision, or none."""

    x: Tensor
    y: Tensor
    autocast: torch.dtype | None = None

    def loss(self, model: Callable[[Tensor], Tensor]) -> Tensor:
        """Forward and loss."""
        return loss(model, self.x, self.y, self.autocast)


@contextmanager
def threads(number: int) -> Iterator[None]:
    """So many threads inside operators."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def forget(parameters: list[nn.Parameter]) -> Callable[[], None]:
    """What lets go of the gradients, as ``zero_grad`` does, without looking for the parameters anew."""

    def clear() -> None:
        for parameter in parameters:
            parameter.grad = None

    return clear


def eager(model: nn.Module, batch: Batch, name: str = EAGER, **more: Any) -> Contender:
    """Plain backpropagation on a copy of the model."""
    model = copy.deepcopy(model)

    def step() -> None:
        batch.loss(model).backward()  # type: ignore[no-untyped-call]

    return Contender(name, step, forget(list(model.parameters())), **more)


def compiled(model: nn.Module, batch: Batch, name: str = COMPILED, mode: str | None = None, **more: Any) -> Contender:
    """The same with forward, loss and backward compiled by torch.compile, at its first step."""
    model = copy.deepcopy(model)
    replays = mode is not None and batch.x.is_cuda

    @functools.partial(torch.compile, mode=mode)
    def compiled_loss(x: Tensor, y: Tensor) -> Tensor:
        return loss(model, x, y, batch.autocast)

    def step() -> None:
        if replays:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        compiled_loss(batch.x, batch.y).backward()

    return Contender(name, step, forget(list(model.parameters())), **more)


def learning(
    program: UpdateProgram, batch: Batch, executor: str, streams: int | None = None, checks: bool = True, **more: Any
) -> Contender:
    """A learner on a copy of the program and its model. ``more``: of the contender."""
    learner = Learner(copy.deepcopy(program), backend=executor, streams=streams, checks=checks)

    def step() -> None:
        learner.learn(batch.x, batch.y)

    return Contender(step=step, clear=forget(list(learner.parameters())), backend=lambda: learner.backend, **more)


def floor(program: UpdateProgram, bp: UpdateProgram) -> float:
    """A wiring's FLOPs over backpropagation's, as ``program.report()`` counts them: what its step can be expected to take at best."""
    return flops(program.lowered.module.graph) / flops(bp.lowered.module.graph)
