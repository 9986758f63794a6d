"""Thin products in blocks of rows: fewer milliseconds, the same bits."""

import copy

import pytest
import torch
from torch import nn

import compiler.lower
import wiring
from compiler import UpdateProgram, compile
from runtime import Learner

aten = torch.ops.aten
pytestmark = pytest.mark.skipif(
    not torch.backends.mkl.is_available(), reason="only MKL is faster in blocks, and torch has none here"
)


def wide(classes: int = 10, units: int = 2048) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, units), nn.ReLU(), nn.Linear(units, units), nn.Tanh(), nn.Linear(units, classes))


def batch(size: int, classes: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(size, 20), torch.randint(0, classes, (size,))


def blocked(program: UpdateProgram) -> list[tuple[int, ...]]:
    return [tuple(node.meta["val"].shape) for node in program.lowered.module.graph.nodes if node.target is aten.bmm.default]


def test_an_output_is_sent_to_wide_layers_in_blocks() -> None:
    program = compile(wide(), wiring.dfa(), example=batch(48))
    assert blocked(program) == [(3, 16, 2048)] * 2
    transmit = [task for task in program.lowered.tasks.tasks if any(node.target is aten.bmm.default for node in task.nodes)]
    assert all("transmit:" in task.name for task in transmit)


@pytest.mark.parametrize(
    ("classes", "units", "size", "why"),
    [(10, 2048, 32, "few rows"), (10, 2048, 40, "no whole blocks"), (10, 512, 48, "narrow"), (20, 2048, 48, "many inner terms")],
)
def test_other_products_stay_whole(classes: int, units: int, size: int, why: str) -> None:
    assert not blocked(compile(wide(classes, units), wiring.dfa(), example=batch(size, classes))), why


def test_so_do_products_in_half_precision() -> None:
    assert not blocked(compile(wide(), wiring.dfa(), example=batch(48), autocast=torch.bfloat16))


@pytest.mark.parametrize("name", ["dfa", "dkp", "rec_lra"])
def test_blocks_give_the_same_bits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = batch(64)
    found = []
    for whole in (False, True):
        if whole:
            monkeypatch.setattr(compiler.lower, "in_blocks", lambda graph: None)
        program = compile(wide(), wiring.parse_wiring(name), example=(x, y))
        assert bool(blocked(program)) is not whole
        learner = Learner(program)
        learner.learn(x, y)
        found.append([parameter.grad.clone() for parameter in learner.parameters() if parameter.grad is not None])
    assert len(found[0]) >= 6
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_backpropagation_through_a_wide_head_still_equals_autograd() -> None:
    model, (x, y) = wide(), batch(64)
    program = compile(copy.deepcopy(model), wiring.bp(), example=(x, y))
    assert blocked(program)
    learner = Learner(program)
    learner.learn(x, y)
    nn.functional.cross_entropy(model(x), y).backward()
    for own, other in zip(program.model.parameters(), model.parameters(), strict=True):
        assert torch.equal(own.grad, other.grad)
