"""Steps timed in turn: in a new order every round, within their time."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from runtime.executors.auto import ROUNDS, WARM_UP, times
from runtime.executors.executor import Executor, Run
from runtime.turns import in_rounds


class Noting(Executor):
    """Takes no time, and notes that its turn has come."""

    def __init__(self, name: str, turns: list[str]) -> None:
        super().__init__()
        self.name, self._turns = name, turns

    def __call__(self, lowered: Any, inputs: Sequence[Tensor]) -> list[Tensor]:
        self._turns.append(self.name)
        return []

    def prepare(self, *args: Any) -> Run:
        raise AssertionError("measured by calls")


@pytest.mark.parametrize("names", ["ab", "abc"])
def test_auto_takes_its_candidates_in_a_new_order_each_round(names: str) -> None:
    turns: list[str] = []
    lowered: Any = SimpleNamespace(device=torch.device("cpu"))
    taken = times([Noting(name, turns) for name in names], lowered, [])
    assert taken.keys() == set(names)
    size = len(names)
    rounds = ["".join(turns[place : place + size]) for place in range(WARM_UP * size, len(turns), size)]
    assert len(rounds) == ROUNDS
    assert all(set(order) == set(names) for order in rounds)
    assert {order[0] for order in rounds} == set(names), "each has been the first"


def test_rounds_end_when_their_time_is_used_up_but_not_before_the_fewest() -> None:
    steps = {"one": lambda: 1.0, "two": lambda: 2.0}
    assert in_rounds(steps, 9, seconds=-1.0) == {"one": [1.0], "two": [2.0]}
    assert in_rounds(steps, 9, seconds=-1.0, fewest=3) == {"one": [1.0] * 3, "two": [2.0] * 3}
    assert in_rounds(steps, 2, seconds=9.0, fewest=3, repeats=4) == {"one": [1.0] * 2, "two": [2.0] * 2}
