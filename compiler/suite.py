"""The operators whose times say how fast a device is: for each kind of work one, or two of different shapes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

aten = torch.ops.aten
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)

Run = Callable[[], Any]


@dataclass(frozen=True)
class Sample:
    """An operator call of known size."""

    run: Run
    flops: int
    bytes: int


def samples(device: torch.device) -> dict[str, Sample]:
    """The suite. Numbers are all alike: no operator in it is faster or slower for that."""
    # An accelerator needs more work than this to be busy, and buffers that its cache does not hold.
    scale = 1 if device.type == "cpu" else 16
    found: dict[str, Sample] = {}
    for dtype in DTYPES:
        name = str(dtype).removeprefix("torch.")
        side = 512 if scale == 1 else 4096
        found[f"matmul {name}"] = _matmul(side, side, side, dtype, device)
        found[f"matmul {name} thin"] = _matmul(64, 10, 32768 * scale, dtype, device)
        found[f"convolution {name}"] = _convolution(16 * scale, 3, dtype, device)
        found[f"convolution {name} thin"] = _convolution(32 * scale, 1, dtype, device)
    x, y = (torch.full((32 * scale, 64, 32, 32), 0.5, dtype=torch.float32, device=device) for _ in range(2))  # 8 MiB on a CPU
    per_channel = [torch.full((64,), 0.5, dtype=torch.float32, device=device) for _ in range(4)]
    whole = x.nbytes
    forward = (x, *per_channel, True, 0.1, 1e-5)
    backward = (x, y, *per_channel[:3], *per_channel[:2], True, 1e-5, [True, True, True])
    rows, weights = x.view(-1, 1024), [torch.full((1024,), 0.5, dtype=torch.float32, device=device) for _ in range(2)]
    return found | {
        "elementwise": Sample(lambda: aten.add.Tensor(x, y), 0, 3 * whole),
        "reduction": Sample(lambda: aten.mean.dim(x, [2, 3]), 0, whole),
        "batch norm": Sample(lambda: aten._native_batch_norm_legit_functional.default(*forward), 0, 2 * whole),
        "batch norm backward": Sample(lambda: aten.native_batch_norm_backward.default(*backward), 0, 3 * whole),
        "layer norm": Sample(lambda: aten.native_layer_norm.default(rows, [1024], *weights, 1e-5), 0, 2 * whole),
        "random": Sample(lambda: aten.native_dropout.default(x, 0.5, True), 0, 2 * whole + x.numel()),
        "heavy": Sample(lambda: aten.tanh.default(x), 0, 2 * whole),
    }


def _matmul(rows: int, inner: int, columns: int, dtype: torch.dtype, device: torch.device) -> Sample:
    one, other = (torch.full(shape, 0.5, dtype=dtype, device=device) for shape in ((rows, inner), (inner, columns)))
    size = one.nbytes + other.nbytes + rows * columns * one.element_size()
    return Sample(lambda: aten.mm.default(one, other), 2 * rows * inner * columns, size)


def _convolution(batch: int, kernel: int, dtype: torch.dtype, device: torch.device) -> Sample:
    """64 channels to 64 at 16x16."""
    x = torch.full((batch, 64, 16, 16), 0.5, dtype=dtype, device=device)
    weight = torch.full((64, 64, kernel, kernel), 0.5, dtype=dtype, device=device)
    pad = kernel // 2
    arguments = (x, weight, None, [1, 1], [pad, pad], [1, 1], False, [0, 0], 1)
    return Sample(
        lambda: aten.convolution.default(*arguments), 2 * 64 * weight[0].numel() * batch * 256, 2 * x.nbytes + weight.nbytes
    )
