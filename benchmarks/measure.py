"""Steps timed in turn: every round times each contender once, in a new order, and ratios are taken within a round.

A machine's mood changes slowly, so what ran in the same round met the same one.
"""

import gc
import math
import random
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter

from contenders import Contender

WARM_UP = 2
FEWEST = 5
AT_LEAST = 0.02  # seconds of a measurement: shorter steps are repeated in it, since clocks and schedulers are coarse

Stopwatch = Callable[[Contender, int], float]
"""``stopwatch(contender, repeats)``: seconds of one of so many steps."""


@dataclass(frozen=True)
class Ratio:
    """The median and the quartiles of one contender's time over another's, round by round."""

    median: float
    low: float
    high: float


@dataclass
class Times:
    """Seconds of a step in each round, by contender; of a contender that failed, why. ``late``: rounds that there was no time for."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    late: int = 0

    def ratio(self, own: str, base: str) -> Ratio | None:
        """Time over time, or none where one of the two was not measured."""
        pairs = list(zip(self.seconds.get(own, ()), self.seconds.get(base, ()), strict=False))
        if len(pairs) < 2:
            return None
        low, median, high = statistics.quantiles([a / b for a, b in pairs], n=4, method="inclusive")
        return Ratio(median, low, high)

    def milliseconds(self, name: str) -> float | None:
        """The median."""
        return 1e3 * statistics.median(self.seconds[name]) if self.seconds.get(name) else None


def host_clock(contender: Contender, repeats: int) -> float:
    """Wall time on the host; gradients are cleared outside of it."""
    total = 0.0
    for _ in range(repeats):
        contender.clear()
        begin = perf_counter()
        contender.step()
        total += perf_counter() - begin
    return total / repeats


def take_turns(
    contenders: Iterable[Contender],
    rounds: int,
    stopwatch: Stopwatch = host_clock,
    deadline: float = math.inf,
    tell: Callable[[str], None] = lambda text: None,
) -> Times:
    """Time every contender in every round, behind ``WARM_UP`` rounds. One that raises drops out, with its error noted.

    Arguments:
        deadline: of ``perf_counter``; behind it rounds end as soon as ``FEWEST`` are done.
        tell: is told what is going on.
    """
    times, repeats = Times(), dict[str, int]()
    left = []
    for number, contender in enumerate(contenders, start=1):
        tell(f"warming up {number}: {contender.name}")
        seconds = _guarded(contender, times, lambda c: [_arranged(c, 1, stopwatch) for _ in range(WARM_UP)][-1])
        if seconds is not None:
            left.append(contender)
            repeats[contender.name] = min(1000, max(1, math.ceil(AT_LEAST / max(seconds, 1e-6))))
            times.seconds[contender.name] = []
    order, shuffle = list(left), random.Random(0).shuffle
    for done in range(rounds):
        if done >= FEWEST and perf_counter() > deadline:
            times.late = rounds - done
            break
        tell(f"round {done + 1} of {rounds}")
        gc.collect()
        shuffle(order)
        for contender in order:
            if contender.name not in times.failures:
                seconds = _guarded(contender, times, lambda c: _arranged(c, repeats[c.name], stopwatch))
                if seconds is not None:
                    times.seconds[contender.name].append(seconds)
    return times


def _arranged(contender: Contender, repeats: int, stopwatch: Stopwatch) -> float:
    with contender.arrangement():
        return stopwatch(contender, repeats)


def _guarded(contender: Contender, times: Times, run: Callable[[Contender], float]) -> float | None:
    try:
        return run(contender)
    except Exception as problem:  # a benchmark goes on with the others, whatever it is
        times.failures[contender.name] = told(problem)
        times.seconds.pop(contender.name, None)
        return None


def told(problem: BaseException) -> str:
    """An error in a line."""
    lines = [line for line in str(problem).splitlines() if line.strip()]
    return f"{type(problem).__name__}: {lines[0].strip()[:300]}" if lines else type(problem).__name__


@dataclass(frozen=True)
class Bound:
    """What a median ratio over a contender should not exceed. Printed beside the ratio, never asserted."""

    over: str
    at_most: float


@dataclass(frozen=True)
class Row:
    """A contender's line in the table. ``over``: its ratios by the contender that they are over."""

    contender: Contender
    milliseconds: float | None
    over: Mapping[str, Ratio]
    bounds: Sequence[Bound]

    def met(self, bound: Bound) -> bool | None:
        """Whether a bound is met; none where it was not measured."""
        ratio = self.over.get(bound.over)
        return None if ratio is None else ratio.median <= bound.at_most


def rows(contenders: Iterable[Contender], times: Times, bases: Sequence[str], bounds: Mapping[str, Sequence[Bound]]) -> list[Row]:
    """A row a contender that was measured, with ratios over each of ``bases`` and whatever its bounds are over."""
    made = []
    for contender in contenders:
        own = bounds.get(contender.name, ())
        over = {base: times.ratio(contender.name, base) for base in dict.fromkeys([*bases, *(bound.over for bound in own)])}
        known = {base: ratio for base, ratio in over.items() if ratio is not None}
        if contender.name in times.seconds:
            made.append(Row(contender, times.milliseconds(contender.name), known, own))
    return made
