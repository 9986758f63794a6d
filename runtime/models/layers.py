"""Layers of rec-LRA's networks that torch lacks: ordinary modules, for which the compiler has no special case.

Legend: N batch, C_in and C_out channels, H x W the input's map, k the kernel's side, P output positions, M noise maps.
Both need to know the size of the maps that they read.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PseudoConv2d(nn.Module):
    """Pseudo-convolution or "perturbative layer": ``z[c] = sum_m mix[c, m] relu(x[m] + noise[m])``, only ``mix`` learned.

    ``[N, C_in, H, W]`` to ``[N, C_out, ceil(H / stride), ceil(W / stride)]``. Input channel ``i`` feeds the ``masks`` noise maps
    from ``i * masks`` on, so ``M = C_in * masks``; ``noise`` is a buffer ``[M, H, W]`` of zero-mean Gaussian values with
    standard deviation ``std``, drawn once. ``mix`` is a 1x1 convolution and starts as torch's do.

    A ``stride`` averages over ``stride`` x ``stride`` windows: the released ResNets of Juefei-Xu et al. pool behind the layer, and
    since mixing and averaging commute, averaging first is the same and cheaper. As no kernel reaches a neighbour, subsampling
    would leave all but one in ``stride**2`` positions without any effect. Odd sizes round up, like a residual block's shortcut.

    The ReLU in here, ``rectifier``, belongs to the layer: no weight of the layer stands in front of it. But where weights of
    earlier layers do, the compiler takes it for a site as any other activation, in ``program.report()`` as ``conv2.rectifier``.
    A wiring keeps it inside with ``sites=Sites(exclude=("*.rectifier",))``; where a preset makes the wiring, by
    ``preset.model_copy(update={"sites": Sites(exclude=("*.rectifier",))})``. In a network's first layer it never is a site.

    Sources: rec-LRA (Ororbia, Mali, Kifer, Giles 2020); Juefei-Xu, Boddeti, Savvides, "Perturbative Neural Networks" (2018).
    """

    noise: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: tuple[int, int],
        std: float,
        masks: int = 1,
        stride: int = 1,
        bias: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        """``size``: ``(H, W)`` of the input. ``generator`` draws the noise; none is torch's own."""
        super().__init__()
        self.stride = stride
        self.register_buffer("noise", std * torch.randn(in_channels * masks, *size, generator=generator))
        self.rectifier = nn.ReLU()
        self.mix = nn.Conv2d(in_channels * masks, out_channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        masks = self.noise.reshape(x.shape[1], -1, *self.noise.shape[1:])
        perturbed: Tensor = self.rectifier((x.unsqueeze(2) + masks).flatten(1, 2))
        if self.stride > 1:
            perturbed = F.avg_pool2d(perturbed, self.stride, ceil_mode=True)
        mixed: Tensor = self.mix(perturbed)
        return mixed


class LocallyConnected2d(nn.Module):
    """A convolution whose kernels are not shared: ``z[c, p] = bias[c, p] + sum_j weight[p, c, j] x[patch p, j]``.

    ``[N, C_in, H, W]`` to ``[N, C_out, H', W']`` with ``H' = (H + 2 padding - k) // stride + 1``, ``W'`` alike and ``P = H' W'``.
    ``weight`` is stored as ``[P * C_out, C_in, k, k]``, output channels innermost, so that torch counts its fan-in from that shape
    as ``C_in k k``, which is right (its fan-out is not). ``bias`` is ``[C_out, H', W']``. Both start uniform in
    ``+-1 / sqrt(fan_in)``, as torch's Conv2d does.

    Source: rec-LRA (2020, 2023), whose CNNs have such layers in the place of convolutions.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        size: tuple[int, int],
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
    ) -> None:
        """``size``: ``(H, W)`` of the input.

        Raises:
            ValueError: the kernel is larger than the padded input.
        """
        super().__init__()
        if kernel_size > min(size) + 2 * padding:
            raise ValueError(
                f"a kernel of {kernel_size}x{kernel_size} does not fit into maps of {size} padded by {padding}; pad more"
            )
        self.out_channels, self.kernel_size, self.stride, self.padding = out_channels, kernel_size, stride, padding
        self.positions = tuple((side + 2 * padding - kernel_size) // stride + 1 for side in size)
        places = math.prod(self.positions)
        self.weight = nn.Parameter(torch.empty(places * out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.empty(out_channels, *self.positions)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.weight[0].numel())
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        patches = F.unfold(x, self.kernel_size, padding=self.padding, stride=self.stride)
        kernels = self.weight.reshape(patches.shape[2], self.out_channels, patches.shape[1])
        out = torch.einsum("njp,pcj->ncp", patches, kernels).reshape(-1, self.out_channels, *self.positions)
        return out if self.bias is None else out + self.bias
