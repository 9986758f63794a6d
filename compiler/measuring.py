"""How fast a device is at each kind of work: the suite of operators, timed in a second or two."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from time import get_clock_info, perf_counter, thread_time
from typing import Any

import torch

from compiler.suite import Run, Sample, samples
from compiler.work import Rate

aten = torch.ops.aten
ROUNDS = 7
SLOW = 0.02  # seconds; a call that takes longer finds its numbers in memory anyway
ENOUGH = 0.06  # seconds; a sample that has run so long is known
REPEATS = 20  # of a sample on an accelerator, whose launches must not wait for the host
HAND_OVERS = 50
# glibc returns freed memory beyond a threshold at once and maps it anew, at ten times an operator's own cost. The threshold follows the
# largest tensor freed so far, up to 32 MiB, so that after the first steps of a program it is no matter. Nor shall it be here.
ALLOCATION = 31 << 20


@dataclass(frozen=True)
class Measured:
    """``rates``: by kind of work, with the dtype behind it for matrix products and convolutions. ``launch``, ``wait``: seconds."""

    rates: Mapping[str, Rate]
    launch: float
    wait: float


def measure(device: torch.device, threads: int) -> Measured:
    """Time the suite with so many threads. The random generators, gradient mode and thread count are as before afterwards."""
    with _undisturbed(device, threads):
        torch.empty(ALLOCATION, dtype=torch.uint8)
        suite, time = samples(device), _clock(threads) if device.type == "cpu" else _events(device)
        taken = _rounds(suite, time)
        launch = _launch(device, time)
        seconds = {name: max(whole - launch, whole / 10) for name, whole in taken.items()}
        wait = _between_threads() if device.type == "cpu" else _between_streams(device)
    return Measured(_rates(suite, seconds), launch, wait)


def _rounds(suite: Mapping[str, Sample], time: Callable[[Run], float]) -> dict[str, float]:
    """Seconds of each sample: the lower quartile, since whatever else the machine does only adds to them.

    Samples run in turn, each twice: first its numbers lie in memory, then in the cache. In a step they lie in both.
    """
    taken: dict[str, list[float]] = {}
    for name, sample in suite.items():
        with suppress(RuntimeError):  # a dtype that the device does not know
            sample.run()
            taken[name] = []
    for _ in range(ROUNDS):
        for name, times in taken.items():
            if sum(times) < ENOUGH:
                times.append(time(suite[name].run))
    return {name: _low(times) for name, times in taken.items()}


def _low(times: Sequence[float]) -> float:
    return sorted(times)[(len(times) - 1) // 4]


def _rates(suite: Mapping[str, Sample], seconds: Mapping[str, float]) -> dict[str, Rate]:
    """Of matrix products and convolutions the FLOP/s come from a sample with many FLOPs a byte, the bytes/s from a thin one."""
    found = {}
    for name in seconds:
        sample, thin = suite[name], f"{name} thin"
        if not sample.flops:
            found[name] = Rate(bytes=sample.bytes / seconds[name])
        elif thin in seconds:
            found[name] = Rate(flops=sample.flops / seconds[name], bytes=suite[thin].bytes / seconds[thin])
    return found


def _launch(device: torch.device, time: Callable[[Run], float]) -> float:
    """Seconds of one operator call that has next to nothing to do, as small steps make them: one behind the other."""
    x = torch.full((4, 4), 0.5, dtype=torch.float32, device=device)
    calls: list[Run] = [
        lambda: aten.add.Tensor(x, x),
        lambda: aten.mul.Tensor(x, 2.0),
        lambda: aten.sum.dim_IntList(x, [0]),
        lambda: aten.mm.default(x, x),
    ]

    def several() -> None:
        for call in calls * 10:
            call()

    return _low([time(several) for _ in range(ROUNDS)]) / (10 * len(calls))


def _between_threads() -> float:
    """Seconds from one thread's setting an event to another's going on, back and forth between two threads."""
    pairs = [(threading.Event(), threading.Event()) for _ in range(HAND_OVERS * ROUNDS)]

    def answer() -> None:
        for ping, pong in pairs:
            ping.wait()
            pong.set()

    partner = threading.Thread(target=answer, daemon=True)
    partner.start()
    taken: list[float] = []
    for ping, pong in pairs:
        start = perf_counter()
        ping.set()
        pong.wait()
        taken.append((perf_counter() - start) / 2)
    partner.join()
    return _low(taken)


def _between_streams(device: torch.device) -> float:
    """Seconds that an event recorded on one stream and waited for on another adds to a chain of tiny operators.

    Untested without an accelerator. Launched from the host one by one; replayed from a graph, hand-overs cost less.
    """
    module: Any = torch.get_device_module(device)
    x = torch.full((4, 4), 0.5, dtype=torch.float32, device=device)
    two = module.Stream(device), module.Stream(device)

    def chain(streams: tuple[Any, Any]) -> float:
        """Tiny operators on streams in turn, each behind the one before."""
        start, end = module.Event(enable_timing=True), module.Event(enable_timing=True)
        module.synchronize(device)
        start.record(streams[0])
        for number in range(HAND_OVERS):
            here, there = streams[number % 2], streams[1 - number % 2]
            with module.stream(here):
                aten.add.Tensor(x, x)
            if here is not there:
                event = module.Event()
                event.record(here)
                there.wait_event(event)
        end.record(streams[HAND_OVERS % 2])
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3 / HAND_OVERS

    both, alone = (_low([chain(streams) for _ in range(ROUNDS)]) for streams in (two, (two[0], two[0])))
    return max(0.0, both - alone)


def _clock(threads: int) -> Callable[[Run], float]:
    """A stop-watch on the processor. A single thread's own time leaves out what other programs take of the machine."""
    fine = get_clock_info("thread_time").resolution <= 1e-6
    now = thread_time if threads == 1 and fine else perf_counter

    def time(run: Run) -> float:
        start = now()
        run()
        once = now() - start
        if once > SLOW:
            return once
        run()
        return (now() - start) / 2

    return time


def _events(device: torch.device) -> Callable[[Run], float]:
    """A stop-watch on the device's own clock. Untested without an accelerator."""
    module: Any = torch.get_device_module(device)

    def between(run: Run, repeats: int) -> float:
        start, end = module.Event(enable_timing=True), module.Event(enable_timing=True)
        module.synchronize(device)
        start.record()
        for _ in range(repeats):
            run()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3 / repeats

    def time(run: Run) -> float:
        once = between(run, 1)
        return once if once > SLOW / REPEATS * 4 else between(run, REPEATS)

    return time


@contextmanager
def _undisturbed(device: torch.device, threads: int) -> Iterator[None]:
    """Plain eager operators on the device, and nothing left changed behind them."""
    before = torch.get_num_threads()
    own = [] if device.type == "cpu" else [device]
    place: Any = nullcontext() if device.type == "cpu" else torch.get_device_module(device).device(device)
    torch.set_num_threads(threads)
    try:
        with place, torch.random.fork_rng(own), torch.no_grad(), torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_num_threads(before)
