"""Composite operators while a captured graph is decomposed: of some 500 that torch would keep whole, only those that the model calls."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx

_UTILS: Any = torch._export.utils
_EXPORTED: Any = torch.export.exported_program
_EVERY = getattr(_EXPORTED, "_collect_all_valid_cia_ops", None)

PLAIN = {
    *("batch_norm", "dropout", "dropout_", "feature_dropout", "flatten", "unflatten", "reshape", "reshape_as", "view_as", "expand_as"),
    *("broadcast_to", "contiguous", "chunk", "to", "narrow", "movedim", "moveaxis", "swapaxes", "swapdims", "tensor_split", "type_as"),
    *("ravel", "numpy_T", "matrix_H", "mT"),
}  # fmt: skip
"""Composite operators that torch takes apart in any case, and into none that it would keep whole."""


@contextmanager
def only_called(program: torch.export.ExportedProgram) -> Iterator[None]:
    """Inside, ``program.run_decompositions({})`` readies the composite operators that the program calls; the result is the same.

    Torch readies every one that there is, which takes longer than all else where a model is small.
    """
    if _EVERY is None or not hasattr(_UTILS, "_is_cia_op") or not hasattr(_UTILS, "_is_preservable_cia_op"):
        yield  # another torch: let it ready all of them
        return
    called = _called(program.graph_module)
    kept = {op for op in called if _UTILS._is_preservable_cia_op(op)}
    if not any(_UTILS._is_cia_op(op) and _name(op) not in PLAIN for op in called - kept):
        _EXPORTED._collect_all_valid_cia_ops = lambda: kept
    try:
        yield
    finally:
        _EXPORTED._collect_all_valid_cia_ops = _EVERY


def _called(module: fx.GraphModule) -> set[Any]:
    graphs = [inner.graph for inner in module.modules() if isinstance(inner, fx.GraphModule)]
    return {node.target for graph in graphs for node in graph.nodes if isinstance(node.target, torch._ops.OpOverload)}


def _name(op: Any) -> str:
    return str(op._schema.name.partition("::")[2])
