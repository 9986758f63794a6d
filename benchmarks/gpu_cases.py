"""The models that the GPU benchmark times, and the bounds that are printed beside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from contenders import EAGER, Batch
from cuda_steps import GRAPHED
from measure import Bound
from models import mlp
from torch import Tensor, nn

from runtime.models import build_model

MODELS = ("resnet18", "mlp", "resnet20")
GRAPH_STREAMS = (1, 2, 4)
STREAMS = 4


@dataclass(frozen=True)
class Case:
    """A model on its device with a batch. ``bounds``: by wiring, of whichever ``graph`` executor. ``tolerance``: to ``serial``."""

    name: str
    setting: str
    model: nn.Module
    batch: Batch
    tolerance: float
    bounds: Mapping[str, Sequence[Bound]]


def graph_name(wiring: str, streams: int) -> str:
    """How a learner in a CUDA graph is called in tables."""
    return f"{wiring}, graph, {streams} stream{'' if streams == 1 else 's'}"


def case(name: str, device: torch.device, tiny: bool) -> Case:
    """A case by name; ``tiny`` for a rehearsal."""
    torch.manual_seed(0)
    return {"resnet18": _resnet18, "mlp": _mlp, "resnet20": _resnet20}[name](device, tiny)


def _batch(shape: tuple[int, ...], device: torch.device, autocast: torch.dtype | None = None) -> Batch:
    return Batch(torch.randn(shape, device=device), torch.randint(0, 10, shape[:1], device=device), autocast)


def _resnet18(device: torch.device, tiny: bool) -> Case:
    size, side = (8, 8) if tiny else (128, 32)
    model: nn.Module = build_model("resnet18", (3, side, side), 10).to(device)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    batch = _batch((size, 3, side, side), device, torch.bfloat16)
    x: Tensor = batch.x.to(memory_format=torch.channels_last)
    direct = (Bound(GRAPHED, 0.70), Bound(EAGER, 0.60))
    bounds = {"dfa": direct, "dkp": direct, "drtp": direct, "rec_lra": (Bound(GRAPHED, 0.80),)}
    setting = f"batch {size} at 3x{side}x{side}, bf16 autocast, channels_last"
    return Case("ResNet-18", setting, model, Batch(x, batch.y, torch.bfloat16), 5e-2, bounds)


def _mlp(device: torch.device, tiny: bool) -> Case:
    model = mlp(5, 32 if tiny else 256).to(device)
    width = 32 if tiny else 256
    bound = (Bound(EAGER, 0.25),)
    bounds = dict.fromkeys(("dfa", "dkp", "drtp", "rec_lra"), bound)
    return Case(f"5x{width} MLP", "tanh, batch 32", model, _batch((32, width), device), 1e-3, bounds)


def _resnet20(device: torch.device, tiny: bool) -> Case:
    size, side = (8, 8) if tiny else (32, 32)
    model = build_model("resnet20:width=4" if tiny else "resnet20", (3, side, side), 10).to(device)
    return Case("ResNet-20", f"batch {size} at 3x{side}x{side}", model, _batch((size, 3, side, side), device), 2e-2, {})
