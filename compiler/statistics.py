"""What a model keeps of its batches, where several processes each see a shard of them.

Batch statistics of ``nn.SyncBatchNorm`` are those of the joint batch (``compiler.syncnorm``). Any other normalisation uses its own
shard's, as under ``DistributedDataParallel``; the running statistics that come of them are averaged over the processes, each by its
share of the samples, so that all ranks hold the same model.
"""

import warnings
from collections.abc import Iterable

import torch
from torch import Tensor, fx, nn

from compiler.capture import Capture
from compiler.dataflow import Dataflow, module_path, op_name
from compiler.effects import picks
from compiler.errors import CompileError, WorldWarning
from compiler.world import World

BATCH_NORMS = {"_native_batch_norm_legit_functional": 5, "_native_batch_norm_legit": 3, "batch_norm": 5, "native_batch_norm": 5}
"""Operators that may normalise by the statistics of the batch, and the argument that says whether they do."""


def joint_norms(captured: Capture, model: nn.Module, world: World | None) -> frozenset[fx.Node]:
    """The normalisations whose statistics are those of the joint batch: in a world, of every ``SyncBatchNorm`` in training.

    Raises:
        CompileError: there are several processes but no world, or a module names another group than the world's.
    """
    synced = {path: module for path, module in model.named_modules() if isinstance(module, nn.SyncBatchNorm) and module.training}
    for path, module in synced.items():
        own = getattr(module.process_group, "group_name", None)
        if world is not None and own not in (None, world.group):
            raise CompileError(
                f"SyncBatchNorm {path!r} belongs to process group {own!r}, but the program's world is {world.group!r}. Give it that group, or "
                "none by convert_sync_batchnorm(model)."
            )
    if world is None and synced and _several_processes():
        raise CompileError(
            f"SyncBatchNorm {next(iter(synced))!r} wants the statistics of all processes' joint batch, but the program is compiled for one "
            "process. Pass compile(..., world=World(group, size)), or use BatchNorm."
        )
    return frozenset(node for node in _norms(captured) if module_path(node) in synced) if world is not None else frozenset()


def differs(node: fx.Node, flow: Dataflow, joint: frozenset[fx.Node]) -> bool:
    """Whether a buffer's new value depends on which samples a process sees."""
    return node in flow.data and not (picks(node) and node.args[0] in joint)


def check_statistics(captured: Capture, flow: Dataflow, joint: frozenset[fx.Node]) -> None:
    """Warn of normalisations by a shard's own statistics.

    Raises:
        CompileError: a buffer that counts something of the data, of which there is no average.
    """
    for name, node in captured.mutations.items():
        value = node.meta["val"]
        if differs(node, flow, joint) and isinstance(value, Tensor) and not value.is_floating_point():
            raise CompileError(
                f"Buffer {name!r} ({value.dtype}) is made of the data, of which every process sees other samples, and whole numbers have no "
                "average that all could keep. Keep it in a floating-point buffer, or outside of the model."
            )
    own = list(dict.fromkeys(module_path(node) for node in _norms(captured) if node not in joint))
    if own:
        more = f" and {len(own) - 1} more" if len(own) > 1 else ""
        warnings.warn(
            f"Batch norm {own[0]!r}{more}: each process normalises by its own shard's statistics, as under DistributedDataParallel, so "
            "results depend on the number of processes; running statistics are averaged. For those of the joint batch use "
            "nn.SyncBatchNorm.convert_sync_batchnorm(model).",
            WorldWarning, stacklevel=5,
        )  # fmt: skip


def _several_processes() -> bool:
    apart = torch.distributed
    return apart.is_available() and apart.is_initialized() and apart.get_world_size() > 1


def _norms(captured: Capture) -> Iterable[fx.Node]:
    """Normalisations by batch statistics."""
    for node in captured.graph.nodes:
        place = BATCH_NORMS.get(op_name(node)) if node.op == "call_function" else None
        if place is not None and len(node.args) > place and node.args[place] is True:
            yield node
