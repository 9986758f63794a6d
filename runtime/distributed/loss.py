"""A process of the run is lost: noticing it, and saying so once."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch.distributed as dist

from runtime.distributed.errors import PeerLost
from runtime.distributed.peers import Peers

ANSWER = 2.0  # seconds in which the processes that are left say that they are there
_BROKEN = re.compile(r"gloo|nccl|connection (closed|reset|refused)|broken pipe|socket|TCPStore|timed out", re.IGNORECASE)


@contextmanager
def noticing(peers: Peers) -> Iterator[None]:
    """Turn a broken connection to another process into PeerLost.

    Raises:
        PeerLost: with the ranks that no longer answer.
    """
    try:
        yield
    except RuntimeError as error:
        if not peers.several or not is_broken(error):
            raise
        raise PeerLost(_words(_missing(peers), peers.size)) from error


def is_broken(error: BaseException) -> bool:
    """Whether an error says that a collective found no peer, and nothing else."""
    return isinstance(error, dist.DistError) or bool(_BROKEN.search(str(error)))


def _missing(peers: Peers) -> list[int]:
    """The ranks that do not say within a moment that they have noticed too; what they wait for is this process's word."""
    found = {peers.rank}
    try:
        store = dist.distributed_c10d._get_default_store()
        store.set(f"errorwire/left/{peers.rank}", "here")
        until = time.monotonic() + ANSWER
        while len(found) < peers.size and time.monotonic() < until:
            found |= {rank for rank in range(peers.size) if rank not in found and store.check([f"errorwire/left/{rank}"])}
            time.sleep(0.05)
    except RuntimeError:  # the store is gone as well, and without torchrun it is the first process's
        return [0]
    return [rank for rank in range(peers.size) if rank not in found]


def _words(missing: list[int], size: int) -> str:
    who = "Processes " if len(missing) > 1 else "Process "
    what = f"{who}{', '.join(map(str, missing))} of {size}" if missing else "The connection between the processes"
    verb = "no longer answer" if len(missing) > 1 else "no longer answers" if missing else "broke"
    return f"{what} {verb}: killed, out of memory, failed, or cut off."


def first_to_tell() -> bool:
    """Whether no other process of this run has told of its end yet: one message is enough. Alone, always."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or not dist.is_initialized():
        return True
    try:
        return bool(dist.distributed_c10d._get_default_store().add("errorwire/told", 1) == 1)
    except RuntimeError:
        return True
