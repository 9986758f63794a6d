"""Tasks and what they touch: all that scheduling and verification know of a program.

A *storage* is a piece of memory, named by the first value that lies in it; views share it. Two accesses of one storage
*conflict* where at least one of them writes, and must then happen in program order, which is the order of ``TaskGraph.tasks``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from torch import fx

RANDOM = "random"
"""The generator's state: every task that draws numbers writes it, so that draws keep their order. It has no bytes."""

COMMUNICATION = "communication"
"""The line to other processes: every task that launches a collective writes it, so that all ranks launch theirs in one order."""


@dataclass(frozen=True)
class Task:
    """A run of nodes that one stream executes in one go.

    ``reads``, ``writes``: storages. ``makes``: those among ``writes`` that the task allocates; the others it overwrites.
    ``name`` holds no white space and is unique in its graph.
    """

    name: str
    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    makes: frozenset[str] = frozenset()
    nodes: tuple[fx.Node, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True)
class TaskGraph:
    """Tasks in program order, which is memory order: a valid order in which values die early.

    ``sizes``: bytes of every storage. ``kept``: storages that outlive the step (inputs, results), never freed.
    """

    tasks: tuple[Task, ...]
    sizes: Mapping[str, int]
    kept: frozenset[str] = frozenset()

    @cached_property
    def by_name(self) -> dict[str, Task]:
        return {task.name: task for task in self.tasks}

    @cached_property
    def dependences(self) -> dict[str, tuple[str, ...]]:
        """For each task, the earlier tasks that it must come after: the last writer of what it reads or writes, and the readers
        since of what it writes."""
        writer: dict[str, str] = {}
        readers: dict[str, list[str]] = {}
        found: dict[str, tuple[str, ...]] = {}
        for task in self.tasks:
            behind: dict[str, None] = {}
            for storage in sorted(task.reads | task.writes):
                if storage in writer:
                    behind[writer[storage]] = None
            for storage in sorted(task.writes):
                behind.update(dict.fromkeys(readers.get(storage, ())))
            found[task.name] = tuple(name for name in behind if name != task.name)
            for storage in task.writes:
                writer[storage], readers[storage] = task.name, []
            for storage in task.reads - task.writes:
                readers.setdefault(storage, []).append(task.name)
        return found
