"""Learners on programs that were compiled before, with the weights, buffers and error synapses of an example's own seed."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor, nn

from compiler import UpdateProgram, compile
from compiler.formats import MemoryLayout
from runtime import Learner
from wiring import Wiring

Loss = Callable[[Tensor, Tensor], Tensor]
KEPT = 1000
"""Programs: what the largest test needs under ``thorough``."""


class Example(Protocol):
    """A frozen dataclass in which everything but the ``seed`` decides what is compiled."""

    @property
    def seed(self) -> int: ...

    def model(self) -> nn.Module: ...

    def data(self) -> tuple[Tensor, Tensor]: ...


def learner_of(example: Example, wiring: Wiring, loss: Loss = F.cross_entropy, layout: MemoryLayout = "preserve") -> Learner:
    """Nothing is left of the example before. Two learners of one structure, wiring, loss and layout share their model: use one."""
    program = _program(dataclasses.replace(example, seed=0), wiring, loss, layout)
    program.model.load_state_dict(example.model().state_dict())
    program.model.train().zero_grad()
    return Learner(program, seed=example.seed)


@functools.lru_cache(maxsize=KEPT)
def _program(example: Example, wiring: Wiring, loss: Loss, layout: MemoryLayout) -> UpdateProgram:
    return compile(example.model(), wiring, example.data(), loss, layout=layout)
