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
HEAD = (nn.AdaptiveAvgPool2d(1), nn.Flatten())
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


def gradients(text: str, layout: str = "preserve") -> list[torch.Tensor]:
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(2048, 1024), nn.Tanh(), nn.Linear(1024, 10)
    )
    x, y = torch.randn(48, 1, 8, 8), torch.randint(0, 10, (48,))
    learner = Learner(compile(model, wiring.parse_wiring(text), example=(x, y), layout=layout))  # type: ignore[arg-type]
    learner.learn(x, y)
    return [parameter.grad for parameter in learner.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("layout", ["preserve", "channels_last"])
@pytest.mark.parametrize("name", ["dfa", "dkp", "lra_e", "rec_lra:gap=1", "rec_lra:gap=2", "rec_lra:elastic=true"])
def test_blocks_give_the_same_numbers(name: str, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = gradients(name, layout)
    monkeypatch.setattr(compiler.lower, "batch_products", lambda graph: None)
    whole = gradients(name, layout)
    assert len(found) >= 6
    if "lra" in name:  # subtracted as it is computed, which rounds once less
        torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-6)
    else:
        assert all(torch.equal(one, other) for one, other in zip(found, whole, strict=True))


def test_a_target_subtracts_its_error_as_it_is_computed() -> None:
    program = compile(wide(), wiring.parse_wiring("rec_lra:gap=2"), example=batch(48))
    assert [node.target for node in program.lowered.module.graph.nodes if "bmm" in node.name] == [aten.baddbmm_.default]


@pytest.mark.parametrize(("channels", "size", "batched"), [(8, 16, True), (8, 15, False), (65, 16, False)])
@pytest.mark.parametrize("name", ["rec_lra:gap=1", "dfa:topology=pairwise,synapse=pointwise"])
def test_pointwise_transmissions_over_many_positions_are_a_product_a_sample(
    name: str, channels: int, size: int, batched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(2)
    model = nn.Sequential(
        nn.Conv2d(1, channels, 1), nn.Tanh(), nn.Conv2d(channels, channels, 1), nn.ReLU(), *HEAD, nn.Linear(channels, 5)
    )
    x, y = torch.randn(6, 1, size, size), torch.randint(0, 5, (6,))
    found, counted = [], set()
    for apart in (True, False):
        if not apart:
            monkeypatch.setattr(compiler.lower, "batch_products", lambda graph: None)
        program = compile(copy.deepcopy(model), wiring.parse_wiring(name), example=(x, y))
        shapes = [tuple(node.meta["val"].shape) for node in program.lowered.module.graph.nodes if "bmm" in node.name]
        assert shapes == [(6, channels, size * size)] * (batched and apart)
        counted.add(program.report().flops)
        learner = Learner(program)
        learner.learn(x, y)
        found.append([parameter.grad for parameter in learner.parameters() if parameter.grad is not None])
    assert len(counted) == 1
    assert len(found[0]) >= 6
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)


def test_backpropagation_through_a_wide_head_keeps_the_product_that_autograd_has() -> None:
    model, (x, y) = wide(), batch(64)
    program = compile(copy.deepcopy(model), wiring.bp(), example=(x, y))
    assert not blocked(program)
    learner = Learner(program)
    learner.learn(x, y)
    nn.functional.cross_entropy(model(x), y).backward()
    for own, other in zip(program.model.parameters(), model.parameters(), strict=True):
        assert torch.equal(own.grad, other.grad)
