"""Whether all processes hold the same, by checksums."""

import zlib
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from compiler import UpdateProgram
from compiler.collectives import launches
from runtime.distributed.errors import DivergedRanks
from runtime.distributed.peers import Peers
from runtime.errors import TrainingError
from runtime.learner import Learner


def check_plans(peers: Peers, program: UpdateProgram, batches: int | None) -> None:
    """Refuse processes that would not do the same: other wirings, collectives in another order, other numbers of ``batches``.

    Raises:
        DivergedRanks: naming what differs, and in which processes; on all of them.
        TrainingError: nobody knows how many batches an epoch has.
    """
    if not peers.several:
        return
    graph = program.lowered.module.graph
    launched = [f"{n.target} {n.meta['val'].dtype} {n.meta['val'].numel()}" for n in graph.nodes if launches(n)]
    texts = {"the wiring": program.wiring.to_json(), "the order of what a step sends": "\n".join(launched)}
    texts["the number of batches in an epoch"] = str(batches)
    check_same(peers, {name: _crc(text.encode()) for name, text in texts.items()})
    if batches is None:
        raise TrainingError(
            "Several processes must take the same number of steps, and this DataLoader does not know its length. Give it a "
            "map-style data set with a DistributedSampler, or pass the data set itself."
        )


def check_states(peers: Peers, learner: Learner, optimizer: Optimizer) -> None:
    """Compare every parameter, buffer and error synapse, and every tensor of the optimiser's.

    Raises:
        DivergedRanks: naming the first that differs, and in which processes; on all of them.
    """
    if not peers.several:
        return
    own = [*learner.named_parameters(), *learner.named_buffers(), *_optimizer_tensors(optimizer)]
    check_same(peers, {name: _tensor_crc(tensor) for name, tensor in own})


def check_same(peers: Peers, checksums: Mapping[str, int]) -> None:
    """Compare checksums by name; raises DivergedRanks for the first that differs."""
    names = peers.gathered(torch.tensor([_crc("\n".join(checksums).encode()), len(checksums)]))
    _compare(peers, names, ["the list of parameters, error synapses and optimiser states"] * 2)
    _compare(peers, peers.gathered(torch.tensor(list(checksums.values()))), list(checksums))


def _compare(peers: Peers, table: Tensor, what: Sequence[str]) -> None:
    """Raises DivergedRanks for the first column of ``[processes, what]`` that does not hold one number."""
    unequal = (table != table[0]).any(0).nonzero()
    if not len(unequal):
        return
    column = int(unequal[0])
    groups: dict[int, list[str]] = {}
    for rank, number in enumerate(table[:, column].tolist()):
        groups.setdefault(number, []).append(str(rank))
    told = " than in ".join(f"process{'es' if len(ranks) > 1 else ''} {', '.join(ranks)}" for ranks in groups.values())
    raise DivergedRanks(
        f"The {peers.size} processes of this run do not hold the same: {what[column]} is another in {told}. Start all of them with "
        "the same code, versions, options and data; a model or data set of your own must be built from the seed alone. "
        "Nothing was saved."
    )


def _optimizer_tensors(optimizer: Optimizer) -> Iterator[tuple[str, Tensor]]:
    for number, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            if isinstance(value, Tensor):
                yield f"the optimiser's {name} of parameter {number}", value


def _tensor_crc(tensor: Tensor) -> int:
    data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return _crc(data.numpy().data) ^ _crc(f"{tensor.dtype} {tuple(tensor.shape)}".encode())


def _crc(data: bytes | memoryview) -> int:
    return zlib.crc32(data)
