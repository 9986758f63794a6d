"""A small network with batch statistics and dropout, attached; each wiring compiles once for all tests."""

import copy
import functools

import torch
from torch import Tensor, nn

import wiring
from runtime import Attached, attach
from runtime.attach import Scale


def small() -> nn.Sequential:
    """``[N, 6] -> [N, 3]``."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3)
    )


def plain() -> nn.Sequential:
    """The same without what depends on the batch or on chance."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))


def batch(size: int = 8) -> tuple[Tensor, Tensor]:
    """``[size, 6]``, normal, and classes below 3."""
    source = torch.Generator().manual_seed(size)
    return torch.randn(size, 6, generator=source), torch.randint(3, (size,), generator=source)


@functools.cache
def _once(preset: str, normed: bool) -> Attached:
    return attach(small() if normed else plain(), wiring.PRESETS[preset](), batch()[0])


def attached(preset: str = "dkp", normed: bool = True, loss_scale: Scale = 1.0) -> Attached:
    """A copy of its own, with the traces shared."""
    own = copy.deepcopy(_once(preset, normed))
    own.loss_scale = loss_scale
    return own


def step(model: nn.Module, x: Tensor, y: Tensor, factor: float = 1.0) -> Tensor:
    """Forward and backward of ``factor`` times the cross entropy, always with the same random numbers; the output, detached."""
    torch.manual_seed(1)
    output: Tensor = model(x)
    (factor * nn.functional.cross_entropy(output, y)).backward()
    return output.detach()


def grads(model: nn.Module) -> dict[str, Tensor]:
    """What lies in ``.grad``."""
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def same(got: dict[str, Tensor], want: dict[str, Tensor], **tolerance: float) -> None:
    """All updates equal: bit for bit, or within ``rtol`` and ``atol``."""
    assert got.keys() == want.keys()
    for name in want:
        torch.testing.assert_close(got[name], want[name], **(tolerance or {"rtol": 0.0, "atol": 0.0}), equal_nan=True)
