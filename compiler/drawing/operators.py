"""What a region computes, in a few words for people: ``conv 3x3/2, bn, add``."""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import fx

from compiler.dataflow import op_name
from compiler.sites import RESHAPES

SILENT = RESHAPES | {
    *("transpose", "permute", "expand", "repeat", "t", "slice", "select", "index", "split", "split_with_sizes", "chunk", "unbind"),
    *("detach", "dropout", "native_dropout", "numpy_T", "movedim", "scalar_tensor", "full", "arange"),
}
WORDS = {
    **dict.fromkeys(("linear", "addmm", "mm"), "linear"),
    **dict.fromkeys(("matmul", "bmm", "baddbmm", "einsum"), "matmul"),
    "layer_norm": "ln",
    "native_layer_norm": "ln",
    "group_norm": "gn",
    "native_group_norm": "gn",
    "scaled_dot_product_attention": "attention",
    "constant_pad_nd": "pad",
}
# Position of (weight, stride, groups) among a convolution's arguments.
CONVOLUTIONS = {
    **{f"conv{n}d": (1, 3, 6) for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": (1, 3, 6) for n in (1, 2, 3)},
    "convolution": (1, 3, 8),
}
LONGEST = 44


def summary(nodes: Iterable[fx.Node]) -> str:
    """The operators of a region in graph order, reshapes left out, repetitions counted, at most 44 characters."""
    words = [word for word in map(_word, nodes) if word]
    counted: list[tuple[str, int]] = []
    for word in words:
        if counted and counted[-1][0] == word:
            counted[-1] = word, counted[-1][1] + 1
        else:
            counted.append((word, 1))
    return _shortened([word if count == 1 else f"{count} {word}" for word, count in counted])


def _shortened(words: Sequence[str]) -> str:
    """The first words and the last, since the last one makes the region's value."""
    for kept in range(len(words), 1, -1):
        shown = words if kept == len(words) else [*words[: kept - 1], "...", words[-1]]
        if len(", ".join(shown)) <= LONGEST:
            return ", ".join(shown)
    return "..., " + words[-1][:LONGEST] if len(words) > 1 else ", ".join(words)[:LONGEST]


def _word(node: fx.Node) -> str:
    name = op_name(node)
    if name in CONVOLUTIONS:
        return _convolution(node, name)
    if "batch_norm" in name:
        return "bn"
    for kind in ("max_pool", "avg_pool"):
        if kind in name:
            return kind.replace("_", " ")
    return "" if name in SILENT else WORDS.get(name, name.strip("_"))


def _convolution(node: fx.Node, name: str) -> str:
    """``conv 3x3/2`` for a 3x3 kernel of stride 2, ``grouped`` or ``depthwise`` where channels are."""
    weight, stride, groups = (node.args[place] if place < len(node.args) else None for place in CONVOLUTIONS[name])
    if not isinstance(weight, fx.Node):
        return "conv"
    channels, inside, *kernel = (int(size) for size in weight.meta["val"].shape)
    grouped = isinstance(groups, int) and groups > 1
    prefix = "" if not grouped else "depthwise " if inside == 1 and channels >= int(str(groups)) else "grouped "
    suffix = "" if _first(stride) == 1 else f"/{_first(stride)}"
    return f"{prefix}conv {'x'.join(map(str, kernel))}{suffix}"


def _first(value: Any) -> int:
    found = value[0] if isinstance(value, Sequence) and value else value
    return found if isinstance(found, int) else 1
