"""What an executor is, and the compiled steps that it keeps."""

import abc
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from compiler.lowered import Lowered
from compiler.schedule import Schedule
from runtime.errors import BackendError

Run = Callable[[Sequence[Tensor]], list[Tensor]]
"""A step ready to run: its inputs in, its results out, both in the layout's order."""


class Hooks(Protocol):
    """Looks on while a step runs, from each stream's own thread."""

    def before(self, task: str, stream: int) -> None:
        """A task is about to be launched."""
        ...

    def after(self, task: str, stream: int) -> None:
        """A task has been launched (on CUDA it may still be running)."""
        ...

    def freed(self, value: Tensor) -> None:
        """A tensor's memory is about to be given back."""
        ...


class Executor(abc.ABC):
    """Runs lowered steps by their schedule on ``streams`` streams. A copy or a pickle of one starts afresh."""

    name: str
    static: bool = False
    """Whether results lie in memory that the next step overwrites."""

    def __init__(self, streams: int = 1) -> None:
        self.streams = streams
        self._ready: weakref.WeakKeyDictionary[Lowered, Run] = weakref.WeakKeyDictionary()

    def __call__(self, lowered: Lowered, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Run a step; prepared the first time that it is seen."""
        run = self._ready.get(lowered)
        if run is None:
            run = self._ready[lowered] = self.prepare(lowered)
        return run(inputs)

    @abc.abstractmethod
    def prepare(self, lowered: Lowered, schedule: Schedule | None = None, hooks: Hooks | None = None) -> Run:
        """Compile a step.

        Arguments:
            schedule: verified, as ``scheduled`` gives it; default: on this executor's number of streams.
            hooks: called while the step runs.

        Raises:
            BackendError: this executor cannot run the step, or cannot call hooks.
        """

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.streams,)

    def __repr__(self) -> str:
        return self.name if self.streams == 1 else f"{self.name} on {self.streams} streams"


def finish(device: torch.device) -> None:
    """Wait for everything that a device has been asked to do; a processor has done it already."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def one_process(name: str, lowered: Lowered, reason: str) -> None:
    """Raises BackendError where other processes run the step as well and could not keep in step with this one."""
    if lowered.world is not None:
        raise BackendError(
            f"Backend {name!r} {reason}, which the other processes of the world would not know of, and each would wait for the others "
            "for ever. Use 'serial', 'threads' (CPU) or 'streams' (CUDA)."
        )


def no_hooks(name: str, hooks: Hooks | None) -> None:
    """Raises BackendError where hooks are asked for that nobody would call."""
    if hooks is not None:
        raise BackendError(
            f"Backend {name!r} runs a step as one piece, so nobody can look on. Use 'serial', 'threads' (CPU) or 'streams' (CUDA)."
        )
