"""Finding the other processes that torchrun has started, and leaving them."""

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from runtime.distributed.errors import RendezvousError
from runtime.distributed.loss import noticing
from runtime.distributed.peers import ALONE, Peers
from runtime.errors import first_line

TIMEOUT = timedelta(seconds=45)
"""After this long without a word a process counts as lost. A killed one is noticed at once, as its connections close."""

PATIENCE = timedelta(hours=2)
"""How long the processes of a host wait while one of them fetches data."""

T = TypeVar("T")
_NEEDED = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Launch:
    """What torchrun's environment says: ``local_rank`` counts on this ``host`` (from 0), ``restarts`` those of the run so far.

    ``name`` is the same for all attempts of one torchrun command, and for no other's.
    """

    rank: int
    size: int
    local_rank: int
    host: int
    address: str
    restarts: int
    name: str


def launch(environment: Mapping[str, str] = os.environ) -> Launch | None:
    """How torchrun started this process; ``None`` where there is none, or for one process alone without it.

    Raises:
        RendezvousError: there is half of its environment only.
    """
    if "WORLD_SIZE" not in environment:
        return None
    missing = [name for name in _NEEDED if not environment.get(name)]
    size = environment["WORLD_SIZE"]
    if size == "1" and missing:
        return None
    if missing:
        raise RendezvousError(f"WORLD_SIZE is {size!r}, but {' and '.join(missing)} {_ARE[len(missing) > 1]} not set. {_WAY}")
    try:
        rank, count, local = (int(environment[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
        restarts, host = (int(environment.get(name, "0")) for name in ("TORCHELASTIC_RESTART_COUNT", "GROUP_RANK"))
    except ValueError as error:
        raise RendezvousError(f"WORLD_SIZE, RANK or LOCAL_RANK is no number ({error}). {_WAY}") from error
    if not 0 <= rank < count:
        raise RendezvousError(f"RANK is {rank} and WORLD_SIZE {count}: ranks count from 0. {_WAY}")
    address = f"{environment['MASTER_ADDR']}:{environment['MASTER_PORT']}"
    known = environment.get("TORCHELASTIC_RUN_ID", "none")
    name = known if known != "none" else f"{socket.gethostname()}:{os.getppid()}"
    return Launch(rank, count, local, host, address, restarts, name)


_ARE = {False: "is", True: "are"}
_WAY = "Start the processes by `torchrun --nproc-per-node N -m runtime train ...`, or unset WORLD_SIZE to train in one."


@contextmanager
def joined() -> Iterator[Peers]:
    """This process among those that torchrun has started, gloo between CPUs and NCCL between GPUs; alone without torchrun.

    Where there is a GPU for each process of this host, this one's becomes the current device.

    Raises:
        RendezvousError: the others are not found.
        PeerLost: one of them has gone since.
    """
    own = launch()
    if own is None or own.size == 1:
        yield ALONE
        return
    on_gpu = torch.cuda.is_available() and torch.cuda.device_count() > int(os.environ.get("LOCAL_WORLD_SIZE", own.size)) - 1
    if on_gpu:
        torch.cuda.set_device(own.local_rank)
    try:
        store, *_ = next(rendezvous("env://", timeout=TIMEOUT))
        # torchrun keeps one store for all attempts, with what an earlier one has left in it
        store = PrefixStore(f"attempt-{own.restarts}", store)
        backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
        dist.init_process_group(backend, store=store, rank=own.rank, world_size=own.size, timeout=TIMEOUT)
    except (RuntimeError, ValueError) as error:  # torch.distributed's own errors are RuntimeErrors
        raise RendezvousError(
            f"Process {own.rank} of {own.size} has not found the others at {own.address} ({first_line(error)}). {_WAY}"
        ) from error
    group = dist.group.WORLD
    assert group is not None
    peers = Peers(own.rank, own.size, group.group_name)
    with noticing(peers):
        yield peers
    dist.destroy_process_group()  # not behind an error: what the others still wait for would be cut off without a word


def in_turn(peers: Peers, do: Callable[[], T]) -> T:
    """What ``do`` gives, on one process of each host before the others, which then find what it has fetched."""
    own = launch()
    if not peers.several or own is None:
        return do()
    store, done = dist.distributed_c10d._get_default_store(), f"errorwire/done/{own.host}"
    if own.local_rank:
        store.wait([done], PATIENCE)
    found = do()
    if not own.local_rank:
        store.set(done, "yes")
    return found


def refuse_company(command: str) -> None:
    """Refuse to run a command several times side by side.

    Raises:
        RendezvousError: torchrun has started several processes.
    """
    own = launch()
    if own is not None and own.size > 1:
        raise RendezvousError(f"The command {command} runs in one process, and torchrun has started {own.size}. Start it without.")


def device_of_process() -> torch.device:
    """Where this process's model belongs: on its GPU if `joined` has chosen one, else on the CPU."""
    on_gpu = dist.is_initialized() and "nccl" in dist.distributed_c10d.get_backend_config(dist.group.WORLD)
    return torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")
