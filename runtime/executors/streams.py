"""CUDA streams: the list in its order from one host thread, each launch on its stream, events in between.

No tensor is marked by ``record_stream``: a value is let go of where the list frees it, and there its own stream is ordered behind
every reader, so the allocator may hand the memory out again on that stream at once. Stream 0 is the caller's current one.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from compiler.lowered import Lowered
from compiler.planning import scheduled
from compiler.schedule import Record, Schedule
from runtime.errors import BackendError
from runtime.executors.executor import Executor, Hooks, Run
from runtime.executors.lanes import one_lane
from runtime.executors.plain import plain


class Streams(Executor):
    """``streams`` CUDA streams, driven by one host thread."""

    name = "streams"

    def __init__(self, streams: int = 4) -> None:
        super().__init__(streams)

    def prepare(self, lowered: Lowered, schedule: Schedule | None = None, hooks: Hooks | None = None) -> Run:
        needs_cuda(self.name, lowered)
        return on_streams(lowered, schedule or scheduled(lowered, self.streams), hooks)


def on_streams(lowered: Lowered, schedule: Schedule, hooks: Hooks | None = None) -> Run:
    """The schedule as calls on the current stream and side streams of its own. It can be captured in a CUDA graph as well."""
    with torch.cuda.device(lowered.device):
        side = {f"s{stream}": torch.cuda.Stream() for stream in range(1, schedule.streams)}  # type: ignore[no-untyped-call]
    records = [action for action in schedule.actions if isinstance(action, Record)]
    events = {f"e{record.event}": torch.cuda.Event() for record in records}  # type: ignore[no-untyped-call]
    lanes = one_lane(lowered, schedule, CudaWords(schedule.streams), watched=hooks is not None)
    (lane,) = lanes.functions({**side, **events, "current": torch.cuda.current_stream, "use": torch.cuda.set_stream})
    size, results = lanes.size, lanes.results

    def run(inputs: Sequence[Tensor]) -> list[Tensor]:
        v: list[Any] = [None] * size
        with torch.cuda.device(lowered.device):
            main = torch.cuda.current_stream()
            try:
                with plain():
                    lane(inputs, v, hooks)
            finally:
                torch.cuda.set_stream(main)
        return v[:results]

    return run


class CudaWords:
    """Streams are ``s0`` (the caller's), ``s1``...; events ``e0``, ``e1``..."""

    def __init__(self, streams: int) -> None:
        self.several = streams > 1

    def begin(self) -> list[str]:
        return ["s0 = current()"] if self.several else []

    def enter(self, stream: int) -> list[str]:
        return [f"use(s{stream})"]

    def record(self, event: int, stream: int) -> list[str]:
        return [f"e{event}.record(s{stream})"]

    def wait(self, event: int, stream: int) -> list[str]:
        return [f"s{stream}.wait_event(e{event})"]


def needs_cuda(name: str, lowered: Lowered) -> None:
    """Raises BackendError where a step does not run on a CUDA device."""
    if lowered.device.type != "cuda":
        raise BackendError(
            f"Backend {name!r} runs on CUDA devices, and this program runs on {lowered.device.type!r}. Move model and example to one "
            "before compiling, or use backend='threads'."
        )
