"""Pools of drawn things: what decides a compile comes from a few things, drawn once; seeds are drawn anew for every example.

A compile takes half a second and a step milliseconds, so that many examples can be tried on the programs of a pool. It is the same in
every run. The ``thorough`` profile has larger ones, and goes beyond them: one example in ``FRESH`` is a thing that no pool holds.
"""

import dataclasses
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

T = TypeVar("T")
EXAMPLES = 200
"""For which a pool has the size that it is asked for; for ten times as many examples it is ten times as large."""
FRESH = 20
SEEDS = st.integers(0, 2**32 - 1)
TRIED = 4
"""Draws for each thing of a pool at most; some come twice."""


def pooled(*kinds: SearchStrategy[T], each: int) -> SearchStrategy[T]:
    """A pool with ``each`` things of every kind, smallest first, to which failing examples shrink; whatever has a seed gets a new one."""
    times = max(1, settings.default.max_examples // EXAMPLES)
    pool = [thing for number, kind in enumerate(kinds) for thing in _collected(kind, each * times, number)]
    pool.sort(key=lambda thing: len(repr(thing)))

    @st.composite
    def drawn(draw: st.DrawFn) -> T:
        fresh = times > 1 and draw(st.integers(1, FRESH)) == FRESH
        thing = draw(draw(st.sampled_from(kinds))) if fresh else draw(st.sampled_from(pool))
        return with_seed(thing, draw(SEEDS))

    return drawn()


def with_seed(thing: T, seed: int) -> T:
    """A dataclass that has a seed with another one, by itself or in a tuple; anything else as it is."""
    parts: Any = thing
    if isinstance(parts, tuple):
        parts = tuple(with_seed(part, seed) for part in parts)
    elif dataclasses.is_dataclass(parts) and hasattr(parts, "seed"):
        parts = dataclasses.replace(parts, seed=seed)
    same: T = parts
    return same


def _collected(kind: SearchStrategy[T], count: int, number: int) -> list[T]:
    """Up to ``count`` different things of the kind of that number, each drawn by itself: those of one run are much alike."""
    found: dict[T, None] = {}
    for attempt in range(TRIED * count):
        if len(found) < count:
            found.setdefault(with_seed(_one(kind, number * 1_000_003 + attempt), 0))
    return list(found)


def _one(kind: SearchStrategy[T], number: int) -> T:
    """The second thing that hypothesis draws from a seed; the first is the simplest that there is."""
    found: list[T] = []

    @seed(number)
    @settings(max_examples=2, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(kind)
    def collect(thing: T) -> None:
        found.append(thing)

    collect()
    return found[-1]
