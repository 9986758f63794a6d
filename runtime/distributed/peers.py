"""The processes that train one model together, and what they tell each other."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import _resolve_process_group

from compiler.world import World

T = TypeVar("T")


@dataclass(frozen=True)
class Peers:
    """This process among ``size``: ``rank`` counts from 0. ``group``: their process group's name, none for a process alone.

    Every method but ``first`` must be called by all of them, in the same order.
    """

    rank: int = 0
    size: int = 1
    group: str | None = None

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        """Whether there are others."""
        return self.size > 1

    @property
    def world(self) -> World | None:
        """What ``compile`` wants to know of them."""
        return World(group=self.group, size=self.size) if self.group is not None else None

    def process_group(self) -> dist.ProcessGroup:
        """The group as torch.distributed has it."""
        assert self.group is not None
        return _group_named(self.group)

    def totals(self, *numbers: float) -> list[float]:
        """Each number summed over the processes, in float64, the same on all of them."""
        if not self.several:
            return list(numbers)
        return [float(number) for number in self.gathered(torch.tensor(numbers, dtype=torch.float64)).sum(0)]

    def gathered(self, tensor: Tensor) -> Tensor:
        """``tensor`` of every process, which have one shape ``[...]``, as ``[size, ...]`` in the order of their ranks."""
        own = tensor.to(self.device())
        rows = [torch.empty_like(own) for _ in range(self.size)]
        dist.all_gather(rows, own, group=self.process_group())
        return torch.stack(rows).cpu()

    def by_first(self, find: Callable[[], T]) -> T:
        """What ``find`` gives the first process, on all of them; it must be what JSON can hold."""
        if not self.several:
            return find()
        text = json.dumps(find()).encode() if self.first else b""
        length = int(self.gathered(torch.tensor([len(text)]))[0, 0])
        data = torch.zeros(length, dtype=torch.uint8, device=self.device())
        if self.first:
            data.copy_(torch.frombuffer(bytearray(text), dtype=torch.uint8))
        dist.broadcast(data, group_src=0, group=self.process_group())
        found: T = json.loads(bytes(data.cpu().tolist()))
        return found

    def device(self) -> torch.device:
        """Where the group's backend wants tensors: the CPU if it takes them there."""
        backends = dist.distributed_c10d.get_backend_config(self.process_group())
        return torch.device("cpu" if "cpu:" in backends else "cuda")


ALONE = Peers()


def peers_of(world: World | None) -> Peers:
    """This process among those of a program's world."""
    if world is None:
        return ALONE
    return Peers(dist.get_rank(_group_named(world.group)), world.size, world.group)


def _group_named(name: str) -> dist.ProcessGroup:
    """The process group that functional collectives know by this name."""
    found: dist.ProcessGroup = _resolve_process_group(cast(Any, name))  # a str, under another name in newer versions of torch
    return found
