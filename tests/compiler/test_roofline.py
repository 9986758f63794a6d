"""Cost models of devices: seconds against numbers worked out by hand, and the suite behind measured ones."""

import importlib
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.flop_counter import FlopCounterMode

import wiring
from compiler import compile
from compiler.measuring import measure
from compiler.roofline import Roofline
from compiler.suite import samples
from compiler.work import Rate, work
from wiring.record import InvalidWiring

CPU = torch.device("cpu")
LAUNCH = 1e-6
HAND = Roofline(
    device="by hand",
    rates={
        "elementwise": Rate(bytes=1e9),
        "reduction": Rate(bytes=5e8),
        "batch norm": Rate(bytes=2.5e8),
        "matmul float32": Rate(flops=1e9, bytes=1e8),
        "matmul bfloat16": Rate(flops=4e9, bytes=1e15),
        "convolution float32": Rate(flops=2e9, bytes=1e15),
    },
    launch=LAUNCH,
    wait=1e-5,
)


def traced(function: Callable[..., Any], *arguments: Tensor) -> dict[str, fx.Node]:
    """The operators of a function by their names, the last of each name."""
    graph = make_fx(function, tracing_mode="fake")(*arguments).graph
    return {
        str(node.target).split(".")[1]: node for node in graph.nodes if node.op == "call_function" and "aten" in str(node.target)
    }


def node(function: Callable[..., Any], *arguments: Tensor) -> fx.Node:
    """The only operator of a function."""
    (found,) = traced(function, *arguments).values()
    return found


def test_elementwise_work_takes_a_launch_and_its_traffic() -> None:
    x = torch.ones(1000)
    assert HAND.seconds(node(torch.relu, x)) == pytest.approx(LAUNCH + 8000 / 1e9)
    assert HAND.seconds(node(torch.add, x, torch.ones(1000))) == pytest.approx(LAUNCH + 12000 / 1e9)
    assert HAND.seconds(node(lambda x: x + x, x)) == pytest.approx(LAUNCH + 8000 / 1e9)
    assert HAND.seconds(node(torch.relu_, x)) == pytest.approx(LAUNCH + 4000 / 1e9)


def test_products_take_the_longer_of_arithmetic_and_traffic() -> None:
    thick = node(torch.mm, torch.ones(100, 100), torch.ones(100, 100))
    assert HAND.seconds(thick) == pytest.approx(LAUNCH + 2e6 / 1e9)
    thin = node(torch.mm, torch.ones(100, 1), torch.ones(1, 100))
    assert HAND.seconds(thin) == pytest.approx(LAUNCH + 4 * (100 + 100 + 10_000) / 1e8)


def test_a_dtype_has_a_rate_of_its_own_or_that_of_float32() -> None:
    def product(dtype: torch.dtype) -> fx.Node:
        return node(torch.bmm, torch.ones(3, 8, 16, dtype=dtype), torch.ones(3, 16, 4, dtype=dtype))

    flops = 2 * 3 * 8 * 16 * 4
    assert HAND.seconds(product(torch.bfloat16)) == pytest.approx(LAUNCH + flops / 4e9)
    moved = 8 * 3 * (8 * 16 + 16 * 4 + 8 * 4)
    assert HAND.seconds(product(torch.float64)) == pytest.approx(LAUNCH + max(flops / 1e9, moved / 1e8))


def test_a_convolutions_backward_counts_what_its_mask_asks_for() -> None:
    x, weight, grad = torch.ones(2, 3, 8, 8), torch.ones(5, 3, 3, 3), torch.ones(2, 5, 8, 8)

    def backward(mask: list[bool]) -> fx.Node:
        def call(grad: Tensor, x: Tensor, weight: Tensor) -> Any:
            return torch.ops.aten.convolution_backward(grad, x, weight, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, mask)

        return traced(call, grad, x, weight)["convolution_backward"]

    once = 2 * 2 * 5 * 64 * 3 * 9 / 2e9
    assert HAND.seconds(backward([False, True, False])) == pytest.approx(LAUNCH + once)
    assert HAND.seconds(backward([True, True, False])) == pytest.approx(LAUNCH + 2 * once)


def test_views_compute_nothing_and_picking_a_result_is_free() -> None:
    x = torch.ones(4, 6)
    for view in (lambda x: x.t(), lambda x: x.view(6, 4), lambda x: x[1:], lambda x: x.expand(3, 4, 6)):
        assert HAND.seconds(node(view, x)) == pytest.approx(LAUNCH / 2)
    graph = make_fx(lambda x: x.split(2)[1], tracing_mode="fake")(x).graph
    assert [HAND.seconds(part) for part in graph.nodes] == pytest.approx([0.0, LAUNCH / 2, *[0.0] * (len(graph.nodes) - 2)])


def test_a_reshape_costs_what_it_copies() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    for source, seconds in ((torch.ones(4, 6), LAUNCH / 2), (torch.ones(6, 4).t(), LAUNCH + 2 * 96 / 1e9)):
        reshaped = graph.call_function(torch.ops.aten.reshape.default, (x, [24]))
        x.meta["val"], reshaped.meta["val"] = source, source.reshape(24)
        assert HAND.seconds(reshaped) == pytest.approx(seconds)


def test_an_expanded_tensor_has_no_more_bytes_than_its_storage() -> None:
    parts = traced(lambda x: torch.relu(x.expand(1000, 10)), torch.ones(10))
    assert work(parts["relu"]).bytes == 40 + 40_000


@pytest.mark.parametrize(
    ("kind", "function"),
    [
        ("elementwise", torch.relu),
        ("heavy", torch.tanh),
        ("heavy", lambda x: x.clone().tanh_()),
        ("heavy", lambda x: torch.ops.aten._softmax(x, 1, False)),
        ("heavy", lambda x: nn.functional.avg_pool2d(x, 2)),
        ("reduction", lambda x: torch.ops.aten.sum(x, [0])),
        ("reduction", torch.linalg.vector_norm),
        ("random", lambda x: torch.ops.aten.bernoulli(x)),
        ("layer norm", lambda x: torch.ops.aten.native_layer_norm(x, [8], None, None, 1e-5)),
        ("batch norm", lambda x: torch.ops.aten.native_batch_norm(x, None, None, None, None, True, 0.1, 1e-5)),
        ("elementwise", lambda x: torch.ops.aten._native_batch_norm_legit_no_training(x, None, None, x[0, :, 0, 0], x[0, :, 0, 0], 0.1, 1e-5)),
        ("matmul", lambda x: torch.ops.aten.bmm(x[0], x[1])),
    ],
)  # fmt: skip
def test_work_is_of_a_kind(kind: str, function: Callable[..., Any]) -> None:
    nodes = make_fx(function, tracing_mode="fake")(torch.ones(4, 8, 8, 8)).graph.nodes
    kinds = [work(part).kind for part in nodes if part.op == "call_function"]
    assert kind in kinds
    assert set(kinds) <= {kind, "view", "nothing", "elementwise"}


def test_a_kind_without_a_rate_counts_as_elementwise() -> None:
    assert HAND.seconds(node(torch.tanh, torch.ones(1000))) == pytest.approx(LAUNCH + 8000 / 1e9)


def test_a_roofline_needs_elementwise_and_times_that_can_be() -> None:
    with pytest.raises(InvalidWiring, match=r"no 'elementwise'.*add it"):
        Roofline(device="x", rates={"reduction": Rate(bytes=1.0)}, launch=0.0, wait=0.0)
    with pytest.raises(InvalidWiring, match="launch"):
        Roofline(device="x", rates=HAND.rates, launch=-1.0, wait=0.0)


def test_a_task_takes_the_sum_of_its_nodes_and_every_node_of_a_step_has_a_time() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Dropout(), nn.Flatten(), nn.Linear(144, 3))
    program = compile(model, wiring.rec_lra(), (torch.ones(2, 1, 8, 8), torch.tensor([0, 1])))
    nodes = list(program.lowered.module.graph.nodes)
    each = [HAND.seconds(part) for part in nodes]
    assert HAND.task_seconds(nodes) == pytest.approx(sum(each))
    assert all(math.isfinite(seconds) and seconds >= 0 for seconds in each)
    assert HAND.task_seconds([]) == 0.0


# ---------------------------------------------------------------------- the suite


def test_samples_do_the_flops_that_they_say() -> None:
    for name, sample in samples(CPU).items():
        if "float64" not in name and "16" not in name:
            with FlopCounterMode(display=False) as counter:
                sample.run()
            assert counter.get_total_flops() == sample.flops, name
            assert sample.bytes > 0


def test_measuring_gives_every_kind_a_rate_and_leaves_nothing_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    measuring = importlib.import_module("compiler.measuring")
    monkeypatch.setattr(measuring, "ROUNDS", 1)
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    found = measure(CPU, 1)
    assert {"elementwise", "reduction", "batch norm", "batch norm backward", "layer norm", "random", "heavy"} <= set(found.rates)
    assert {f"{kind} {dtype}" for kind in ("matmul", "convolution") for dtype in ("float32", "float64")} <= set(found.rates)
    assert not any("thin" in name for name in found.rates)
    assert found.launch > 0
    assert found.wait > 0
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.is_grad_enabled()
    assert Roofline(device="this", rates=found.rates, launch=found.launch, wait=found.wait)
