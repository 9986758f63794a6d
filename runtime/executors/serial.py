"""The reference executor: the traced step's nodes one after another, each value freed behind its last reader."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from compiler.lower import Lowered
from runtime.errors import BackendError

Executor = Callable[[Lowered, Sequence[Tensor]], Sequence[Tensor]]


@torch.no_grad()
def serial(lowered: Lowered, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
    """Run a step; results in the layout's order."""
    results: Sequence[Tensor] = lowered.module(*inputs)
    return results


EXECUTORS: dict[str, Executor] = {"serial": serial}


def executor(name: str) -> Executor:
    """The executor of that name.

    Raises:
        BackendError: there is none.
    """
    if name not in EXECUTORS:
        raise BackendError(f"No backend is called {name!r}. Backends: {', '.join(EXECUTORS)}.")
    return EXECUTORS[name]
