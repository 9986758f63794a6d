"""What each node of a traced step reads and writes, per storage, from the operators' own schemas.

A storage is named by the first value that lies in it: a node's name, ``name.i`` for the ``i``-th of several results. Views
share the storage of what they look at, whether the schema says so or the traced values do. A view itself, which another thread may
not use before it is made, counts as a storage of no bytes, named like its node and never freed.
"""

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx

from compiler.collectives import arrives, launches
from compiler.taskgraph import COMMUNICATION, RANDOM

INPUTS = ("placeholder", "get_attr")


@dataclass(frozen=True)
class Effect:
    """Storages that a node reads, writes and allocates (``makes`` is part of ``writes``)."""

    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    makes: frozenset[str] = frozenset()


@dataclass
class Effects:
    """``of``: the effect of every operator; ``storages``: those behind each node's value, one an element
    (empty for an element that is no tensor).

    ``sizes``: bytes of each storage. ``kept``: storages of inputs and results. ``holders``: the nodes whose values lie in a storage.
    ``views``: names of the views.
    """

    of: dict[fx.Node, Effect] = field(default_factory=dict)
    storages: dict[fx.Node, tuple[str, ...]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    kept: frozenset[str] = frozenset()
    holders: dict[str, list[fx.Node]] = field(default_factory=dict)
    views: set[str] = field(default_factory=set)


def effects(graph: fx.Graph) -> Effects:
    """Effects of every node of a traced step, in one walk."""
    found = Effects()
    places: dict[int, str] = {}
    kept: set[str] = set()
    for node in graph.nodes:
        if node.op == "output":
            kept.update(name for source in node.all_input_nodes for name in found.storages[source])
            continue
        _visit(node, found, places)
        if node.op in INPUTS:
            kept.update(found.storages[node])
    communicates = {COMMUNICATION} if any(COMMUNICATION in effect.writes for effect in found.of.values()) else set()
    found.kept = frozenset(kept | found.views | {RANDOM} | communicates)
    found.sizes.update(dict.fromkeys({RANDOM} | communicates, 0))
    return found


def _visit(node: fx.Node, found: Effects, places: dict[int, str]) -> None:
    values = elements(node)
    if picks(node):
        found.storages[node] = (found.storages[node.args[0]][node.args[1]],)  # type: ignore[index]
        found.holders.setdefault(found.storages[node][0], []).append(node)
        return
    aliased, written = _schema(node, found) if node.op == "call_function" else ((), frozenset())
    if arrives(node):  # which its schema does not say: until then the memory is being written
        aliased = found.storages[node.all_input_nodes[0]]
        written = frozenset(found.storages[node.all_input_nodes[0]])
    names: list[str] = []
    made: set[str] = set()
    for place, value in enumerate(values):
        if not isinstance(value, Tensor):
            names.append("")
            continue
        key = value.untyped_storage()._cdata
        name = aliased[place] if place < len(aliased) else None
        name = name or places.get(key)
        if name is None:
            name = node.name if len(values) == 1 else f"{node.name}.{place}"
            found.sizes[name] = value.untyped_storage().nbytes()
            made.add(name)
        places.setdefault(key, name)
        names.append(name)
        found.holders.setdefault(name, []).append(node)
    found.storages[node] = tuple(names)
    if node.op not in INPUTS:
        reads = {name for source in node.all_input_nodes for name in found.storages[source] if name}
        reads |= {source.name for source in node.all_input_nodes if source.name in found.views}
        outside = {RANDOM} if draws(node) else {COMMUNICATION} if launches(node) else set()
        if not made | written | outside:
            made = {node.name}
            found.views.add(node.name)
            found.sizes[node.name] = 0
        found.of[node] = Effect(frozenset(reads), frozenset(made | written | outside), frozenset(made))


def _schema(node: fx.Node, found: Effects) -> tuple[tuple[str | None, ...], frozenset[str]]:
    """For each result the storage that it shares with an argument, and the storages that are written in place."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return (), frozenset()
    sets: dict[str, str] = {}
    written: set[str] = set()
    for place, argument in enumerate(schema.arguments):
        given = node.args[place] if place < len(node.args) else node.kwargs.get(argument.name)
        if argument.alias_info is None or not isinstance(given, fx.Node):
            continue
        for label in argument.alias_info.before_set:
            sets[label] = found.storages[given][0]
        if argument.alias_info.is_write:
            written.update(found.storages[given])
    shared = [
        next((sets[label] for label in result.alias_info.before_set if label in sets), None) if result.alias_info else None
        for result in schema.returns
    ]
    several = isinstance(node.meta.get("val"), tuple | list)
    if several and len(sets) == 1 and len(schema.returns) == 1 and schema.returns[0].alias_info:  # a list of views, as split gives
        shared = [*sets.values()] * len(elements(node))
    return tuple(shared), frozenset(written)


def elements(node: fx.Node) -> Sequence[Any]:
    """A node's value as a sequence: one element for a tensor, several for an operator with several results."""
    value = node.meta.get("val")
    return value if isinstance(value, tuple | list) else (value,)


def picks(node: fx.Node) -> bool:
    """Whether a node picks one of several results."""
    return node.target is operator.getitem


def draws(node: fx.Node) -> bool:
    """Whether an operator draws random numbers."""
    return torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())


def is_view(node: fx.Node) -> bool:
    """Whether an operator only looks at its argument's memory in another way, as far as the traced values show."""
    if picks(node):
        return True
    schema, value = getattr(node.target, "_schema", None), node.meta.get("val")
    if schema is None or not isinstance(value, Tensor) or any(a.alias_info and a.alias_info.is_write for a in schema.arguments):
        return False
    source = node.all_input_nodes[0].meta.get("val") if node.all_input_nodes else None
    return isinstance(source, Tensor) and source.untyped_storage()._cdata == value.untyped_storage()._cdata


def task(node: fx.Node) -> str:
    """The task that a node was traced in."""
    return str((node.meta.get("custom") or {}).get("task", ""))
