"""Several processes that learn one model from shards of each batch (data parallelism)."""

from typing import Annotated

from pydantic import Field

from wiring.record import Count, Record

FIRST = 2**20
"""Bytes of the first bucket, smaller than the others so that communication starts early."""


class World(Record):
    """The processes of a ``torch.distributed`` group, each of which runs the same program on its own shard.

    ``group``: the process group's name, as functional collectives want it. ``size``: how many processes it has. ``bucket_bytes``: how
    many bytes of updates are summed at a time; all ranks give the same.
    """

    group: Annotated[str, Field(min_length=1)]
    size: Count
    bucket_bytes: Count = 25 * 2**20
