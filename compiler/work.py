"""What work a node of a traced step is (its kind, FLOPs and bytes), and how fast a device is at a kind of work."""

import re
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, fx
from torch._ops import OpOverload

from compiler.collectives import arrives
from compiler.cost import node_flops
from compiler.effects import elements
from wiring.record import Positive, Record

Kind = Literal[
    "nothing", "view", "matmul", "convolution", "elementwise", "reduction", "batch norm", "batch norm backward", "layer norm", "random",
    "heavy",
]  # fmt: skip

# Many instructions a number: transcendental functions, and what walks through windows or along an axis.
HEAVY = re.compile(
    "a?(cos|sin|tan)h?|atan2|erfc?|exp[2m1]*|log(10|1p|2|_sigmoid_forward)?|logaddexp|logsumexp|l?gamma|digamma|logit|elu_backward|"
    "softplus|mish|_(log_)?softmax|(avg|max)_pool[23]d.*|_adaptive_avg_pool[23]d|cum(sum|prod)|sort|topk"
)


@dataclass(frozen=True)
class Work:
    """``dtype``: of the numbers that are computed with, without ``torch.`` in front."""

    kind: Kind
    dtype: str = "float32"
    flops: int = 0
    bytes: int = 0


class Rate(Record):
    """How fast a device is at a kind of work. ``flops``: FLOP/s, none where it is counted in bytes alone; ``bytes``: bytes/s."""

    flops: Positive | None = None
    bytes: Positive

    def seconds(self, work: Work) -> float:
        """What takes longer, the arithmetic or the traffic."""
        return max(work.bytes / self.bytes, work.flops / self.flops if self.flops else 0.0)


def work(node: fx.Node) -> Work:
    """The work of one node.

    ``bytes`` are those of what it reads and makes. Tensors that share a storage count once: an operator in place moves each number
    through a cache that holds it already. An expanded tensor has no more bytes than its storage.
    """
    target = node.target
    if not isinstance(target, OpOverload):
        return Work("nothing")
    if arrives(node):
        return Work("view")
    read = [value for source in node.all_input_nodes for value in _tensors(source)]
    made = _tensors(node)
    sizes = {_storage(value): _size(value) for value in read}
    if made and not target._schema.is_mutable and all(_storage(value) in sizes for value in made):
        return Work("view")
    sizes |= {_storage(value): _size(value) for value in made}
    dtypes = (value.dtype for value in (*read, *made) if value.is_floating_point() or value.is_complex())
    flops = node_flops(node)
    return Work(_kind(target, flops), str(next(dtypes, torch.float32)).removeprefix("torch."), flops, sum(sizes.values()))


def _kind(target: OpOverload[..., Any], flops: int) -> Kind:
    name = target._schema.name.removeprefix("aten::").removesuffix("_")
    if flops or "attention" in name:
        return "convolution" if "conv" in name else "matmul"
    if torch.Tag.nondeterministic_seeded in target.tags:
        return "random"
    if "batch_norm" in name and "no_training" not in name:
        return "batch norm backward" if "backward" in name else "batch norm"
    if "layer_norm" in name or "group_norm" in name or "rms_norm" in name:
        return "layer norm"
    if torch.Tag.reduction in target.tags:
        return "reduction"
    return "heavy" if HEAVY.fullmatch(name) else "elementwise"


def _tensors(node: fx.Node) -> list[Tensor]:
    return [value for value in elements(node) if isinstance(value, Tensor)]


def _storage(value: Tensor) -> int:
    return int(value.untyped_storage()._cdata)


def _size(value: Tensor) -> int:
    return min(value.nbytes, value.untyped_storage().nbytes())
