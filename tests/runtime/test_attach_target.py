"""DRTP behind a loss outside: the target is told from the output's error, exactly, or refused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from attach_case import attached, batch, grads, same, step
from torch import Tensor

from compiler import LabelError
from compiler.outside import recovered_target

SIZES = [1e-3, 1.0, 30.0, 300.0]
"""Of the logits; at the greatest every softmax and most sigmoids are saturated."""


def told(v: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
    v = v.clone().requires_grad_()
    loss(v).backward()
    assert v.grad is not None
    return recovered_target(v.grad, v)


def draw(*shape: int, size: float = 1.0, dtype: torch.dtype = torch.float32) -> Tensor:
    return (size * torch.randn(shape, generator=torch.Generator().manual_seed(0))).to(dtype)


def classes(shape: tuple[int, ...], count: int) -> Tensor:
    return torch.randint(count, shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [2, 10, 300])
def test_softmax(size: float, count: int, dtype: torch.dtype) -> None:
    v, y = draw(64, count, size=size, dtype=dtype), classes((64,), count)
    y[:32] = v[:32].argmax(1)  # half of them right, so that their error rounds to nothing where the output is saturated
    weight = 0.1 + torch.arange(count) / count
    for options in ({}, {"weight": weight}, {"reduction": "sum"}):
        for inside in (dtype, torch.promote_types(dtype, torch.float32)):  # as the model computes, and as autocast does

            def loss(v: Tensor, options: dict[str, Any] = options, inside: torch.dtype = inside) -> Tensor:
                cast = {name: value.to(inside) if isinstance(value, Tensor) else value for name, value in options.items()}
                return F.cross_entropy(v.to(inside), y, **cast)

            assert torch.equal(told(v, loss), F.one_hot(y, count).to(dtype))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", [(64, 1), (64,), (64, 10), (4, 3, 5, 5)], ids=str)
def test_sigmoid(size: float, shape: tuple[int, ...]) -> None:
    v = draw(*shape, size=size)
    t = classes(shape, 2).float()
    t.view(-1)[: t.numel() // 2] = (v.view(-1)[: t.numel() // 2] > 0).float()
    for reduction in ("mean", "sum"):
        assert torch.equal(told(v, lambda v, r=reduction: F.binary_cross_entropy_with_logits(v, t, reduction=r)), t)


@pytest.mark.parametrize("size", SIZES)
def test_a_class_at_every_pixel_or_word(size: float) -> None:
    pixels, y = draw(4, 5, 6, 6, size=size), classes((4, 6, 6), 5)
    assert torch.equal(told(pixels, lambda v: F.cross_entropy(v, y)), F.one_hot(y, 5).movedim(-1, 1).float())
    words = draw(4, 7, 5, size=size)
    y = classes((4, 7), 5)
    assert torch.equal(told(words, lambda v: F.cross_entropy(v.flatten(0, 1), y.flatten())), F.one_hot(y, 5).float())


@pytest.mark.parametrize(
    "loss",
    [
        lambda v: F.mse_loss(v, F.one_hot(classes((64,), 10), 10).float()),
        lambda v: F.cross_entropy(v, classes((64,), 10), label_smoothing=0.1),
        lambda v: F.cross_entropy(v, classes((64,), 10), ignore_index=3),
        lambda v: F.cross_entropy(v / 3, classes((64,), 10)),
        lambda v: F.cross_entropy(v, torch.softmax(draw(64, 10), 1)),
        lambda v: F.multi_margin_loss(v, classes((64,), 10)),
        lambda v: F.cross_entropy(v, classes((64,), 10)) + v.square().mean(),
    ],
    ids=["mse", "smoothed", "ignored", "temperature", "soft", "margin", "composed"],
)
def test_other_losses_are_refused(loss: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(LabelError, match=r"target of sample \d+ cannot be told.*runtime.Learner, which sees the labels"):
        told(draw(64, 10), loss)


def test_a_gradient_that_is_not_finite_gives_a_target_that_is_none() -> None:
    g = torch.tensor([[torch.inf, -torch.inf], [0.5, -0.5]])
    found = recovered_target(g, torch.zeros(2, 2))
    assert found[0].isnan().all()
    assert torch.equal(found[1], torch.tensor([0.0, 1.0]))


def test_drtp_under_a_scaled_loss() -> None:
    plain, scaled = attached("drtp"), attached("drtp", loss_scale=1024.0)
    step(plain, *batch())
    step(scaled, *batch(), 1024.0)
    same({name: value / 1024 for name, value in grads(scaled).items()}, grads(plain))


def test_drtp_refuses_a_loss_that_says_no_target() -> None:
    with pytest.raises(LabelError, match="cannot be told"):
        attached("drtp")(batch()[0]).square().mean().backward()
