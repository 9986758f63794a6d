"""Kernels of different streams that run at the same time, as torch.profiler saw them."""

import json
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from pathlib import Path
from typing import Any

import torch

KINDS = ("kernel", "gpu_memcpy", "gpu_memset")


@dataclass(frozen=True)
class Kernel:
    """``start`` and ``end`` in microseconds, on the device's clock."""

    name: str
    stream: int
    start: float
    end: float


@dataclass(frozen=True)
class Overlap:
    """``pairs``: of kernels on different streams that ran at the same time for a while. ``busy``: microseconds in which any ran,
    ``together``: in which kernels of several streams did. ``examples``: a few pairs by name."""

    kernels: int
    streams: int
    pairs: int
    busy: float
    together: float
    examples: tuple[tuple[str, str], ...]

    @property
    def share(self) -> float:
        """Of the busy time, that in which kernels of several streams ran."""
        return self.together / self.busy if self.busy else 0.0


def overlap(kernels: Iterable[Kernel], least: float = 0.5) -> Overlap:
    """Who ran beside whom. Pairs that share less than ``least`` microseconds do not count: clocks are that coarse."""
    ordered = sorted(kernels, key=lambda kernel: kernel.start)
    running: list[tuple[float, int]] = []  # ends, and places in ``ordered``
    pairs, examples = 0, list[tuple[str, str]]()
    for place, kernel in enumerate(ordered):
        while running and running[0][0] <= kernel.start:
            heappop(running)
        for end, other in running:
            beside = ordered[other]
            if beside.stream != kernel.stream and min(end, kernel.end) - kernel.start >= least:
                pairs += 1
                if len(examples) < 5:
                    examples.append((beside.name[:80], kernel.name[:80]))
        heappush(running, (kernel.end, place))
    busy, together = _times(ordered)
    streams = len({kernel.stream for kernel in ordered})
    return Overlap(len(ordered), streams, pairs, busy, together, tuple(examples))


def _times(kernels: list[Kernel]) -> tuple[float, float]:
    """Microseconds in which at least one stream is at work, and at least two."""
    moments = sorted([(k.start, 1, k.stream) for k in kernels] + [(k.end, -1, k.stream) for k in kernels], key=lambda m: m[:2])
    active: dict[int, int] = {}
    busy = together = before = 0.0
    for moment, change, stream in moments:
        working = sum(count > 0 for count in active.values())
        busy += (moment - before) * (working > 0)
        together += (moment - before) * (working > 1)
        active[stream] = active.get(stream, 0) + change
        before = moment
    return busy, together


def kernels_of(trace: Any) -> list[Kernel]:
    """The device's work in a Chrome trace of torch.profiler."""
    events = (event for event in trace["traceEvents"] if event.get("cat") in KINDS and "dur" in event)
    return [
        Kernel(event["name"], int(event["args"]["stream"]), float(event["ts"]), float(event["ts"]) + float(event["dur"]))
        for event in events
    ]


def profiled(step: Callable[[], Any], steps: int = 5, keep: Path | None = None) -> list[Kernel]:
    """The kernels of some steps, warmed up before. ``keep``: where to leave the Chrome trace."""
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    for _ in range(3):
        step()
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=activities) as profile:
        for _ in range(steps):
            step()
        torch.cuda.synchronize()
    with tempfile.TemporaryDirectory() as folder:
        path = keep or Path(folder) / "trace.json"
        profile.export_chrome_trace(str(path))
        return kernels_of(json.loads(path.read_text()))
