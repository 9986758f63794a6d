"""Words of the examples, a network for them, and one step of it."""

import importlib
import itertools
from types import ModuleType

import torch
from torch import Tensor, nn

from compiler import compile
from runtime import Learner
from wiring import PRESETS, Wiring


def example(name: str) -> ModuleType:
    """The module of an example; a preset in it is taken off the list again, over which other tests run."""
    before = set(PRESETS)
    module = importlib.import_module(f"examples.extending.{name}")
    for added in set(PRESETS) - before:
        del PRESETS[added]
    return module


def network(*sizes: int) -> nn.Sequential:
    """Linear layers of ``sizes`` (6, 8, 7, 9, 4), a tanh behind each but the last, in float64: sites ``1``, ``3``, ``5``."""
    torch.manual_seed(0)
    wide = sizes or (6, 8, 7, 9, 4)
    layers = [layer for a, b in itertools.pairwise(wide) for layer in (nn.Linear(a, b), nn.Tanh())]
    return nn.Sequential(*layers[:-1]).double()


def batch(size: int = 5) -> tuple[Tensor, Tensor]:
    """``[size, 6]``, normal, and classes below 4."""
    source = torch.Generator().manual_seed(1)
    return torch.randn(size, 6, generator=source).double(), torch.randint(4, (size,), generator=source)


def learned(wiring: Wiring, backend: str = "serial", seed: int = 5) -> Learner:
    """A learner of the network behind its first step."""
    learner = Learner(compile(network(), wiring, batch()), backend=backend)
    torch.manual_seed(seed)
    learner.learn(*batch())
    return learner


def grads(module: nn.Module) -> dict[str, Tensor]:
    """What a step has left in ``.grad``."""
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
