"""The weight mirror's noise phase (Akrout et al. 2019): each mirrored layer alone, fed with noise, beside the rest of a step."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils.flop_counter import FlopCounterMode

from compiler.forward import Forward
from compiler.mirrors import mirrored_weights
from wiring import NoiseMirror


def noise_update(forward: Forward, weight: str, mirror: Tensor, spec: NoiseMirror) -> Tensor:
    """``decay * B - sign * gamma * mean((W xi) xi^T)`` in the layout of ``W``; a mean over batch, positions and readers of ``W``."""
    readers = [
        node for node in forward.captured.graph.nodes if weight in mirrored_weights(node, forward.captured, forward.dataflow)
    ]
    total: Tensor | None = None
    for node in readers:
        own = forward.parameters[weight].detach().requires_grad_()
        value = _noisy(forward, node, weight, own, spec.std)
        with torch.enable_grad(), forward.context():
            response = Forward.call(node, value)
        product = torch.autograd.grad(response, own, response.detach())[0] * (1.0 / (_uses(node) * len(readers)))
        total = product if total is None else total + product
    assert total is not None, f"{weight} has a mirror, so some linear operator reads it"
    learned = total * (-spec.sign * spec.gamma)
    return learned + mirror.detach() * spec.decay if spec.decay else learned


def _noisy(forward: Forward, node: fx.Node, weight: str, own: Tensor, std: float) -> Callable[[fx.Node], Any]:
    """What a layer reads in its noise phase: noise for data, its weights, zero for biases."""
    weights = forward.weights(lambda name: own if name == weight else None)

    def read(source: fx.Node) -> Any:
        if source in forward.dataflow.data:
            return torch.randn_like(forward.value(source).detach()) * std
        value = weights(source)
        return value if not isinstance(value, Tensor) or value.dim() > 1 else torch.zeros_like(value)

    return read


def _uses(node: fx.Node) -> float:
    """How often each number of the weight is multiplied in one call: over the batch and over a kernel's positions."""
    sizes = [source.meta["val"].numel() for source in node.all_input_nodes if source.meta["val"].dim() > 1]
    with _disable_current_modes(), FlopCounterMode(display=False) as counter:
        node.target(*_on_meta(node.args), **_on_meta(node.kwargs))  # type: ignore[operator]
    return float(counter.get_total_flops() / 2 / sizes[-1])


def _on_meta(arguments: Any) -> Any:
    return fx.map_arg(
        arguments, lambda source: torch.empty(source.meta["val"].shape, dtype=source.meta["val"].dtype, device="meta")
    )
