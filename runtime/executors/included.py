"""An optimiser inside a captured step: may it be captured, and how capturing leaves no trace in its state."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from runtime.errors import BackendError
from runtime.unchanged import put_back


@dataclass(frozen=True)
class Included:
    """An optimiser, and the parameters and buffers that a step changes (walked through once, when they are to be put back)."""

    optimizer: torch.optim.Optimizer
    tensors: Iterable[Tensor]

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Warming up takes steps for real: put every number back in its place afterwards.

        State that is made only now starts from zero. That is right for most momenta and counters but not for all, so take an
        optimiser's first step before.
        """
        tensors = [*self.tensors, *self._state()]
        known = {id(tensor) for tensor in tensors}
        try:
            with put_back(tensors):
                yield
        finally:
            with torch.no_grad():
                for tensor in self._state():
                    if id(tensor) not in known:
                        tensor.zero_()

    def marks(self) -> list[object]:
        """What a captured step has taken in for good: where the optimiser's state lies, and its settings that are plain values."""
        settings = [value for group in self.optimizer.param_groups for key, value in group.items() if key != "params"]
        places: list[object] = [tensor.data_ptr() for tensor in self._state()]
        return places + [value.data_ptr() if isinstance(value, Tensor) else value for value in settings]

    def check_host(self) -> None:
        """Raises BackendError where the optimiser counts its steps on the host, which a captured step would not move on."""
        kept = ((parameter, value) for parameter, state in self.optimizer.state.items() for value in state.values())
        if any(isinstance(value, Tensor) and value.device != parameter.device for parameter, value in kept):
            raise BackendError(
                f"{type(self.optimizer).__name__} keeps part of its state on the host, so a CUDA graph cannot hold its step. Use Adam "
                "with capturable=True or SGD, or call optimizer.step() behind learn() instead of including it."
            )

    def _state(self) -> list[Tensor]:
        return [value for state in self.optimizer.state.values() for value in state.values() if isinstance(value, Tensor)]


def check_capturable(optimizer: torch.optim.Optimizer) -> None:
    """Raises BackendError where an optimiser decides on the host what it does."""
    if any(not group.get("capturable", True) for group in optimizer.param_groups):
        raise BackendError(
            f"{type(optimizer).__name__} cannot be captured in a CUDA graph as it is. Construct it with capturable=True, or call "
            "optimizer.step() behind learn() instead of including it."
        )
