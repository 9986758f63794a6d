"""JSON values at their worst, and trees of them with something wrong somewhere."""

import json
from typing import Any

from hypothesis import strategies as st

HUGE = [2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**9, 10**30, 10**400, -1, 0]
ODD = [float("nan"), float("inf"), -float("inf"), 1e308, 5e-324, -0.0, 1e400]
TEXTS = [
    "",
    "*",
    "output",
    "\0",
    "\ud800",
    "\udcff",
    "é😀",
    "a" * 5000,
    "../../x",
    "/etc/passwd",
    "__class__",
    "os:system",
    "nan",
    "%s",
]


def nested(depth: int, wrap: str = "[") -> Any:
    """A list or object of ``depth`` levels."""
    value: Any = 1
    for _ in range(depth):
        value = [value] if wrap == "[" else {"a": value}
    return value


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12), st.sampled_from(HUGE), st.sampled_from(ODD),
    st.sampled_from(TEXTS),
)  # fmt: skip
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=10,
)
VALUES = st.one_of(JSON, st.builds(nested, st.sampled_from([50, 300]), st.sampled_from("[{")))


def places(tree: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every node of a tree, the root's first."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [at, *(place for key, value in items for place in places(value, (*at, key)))]


def changed(tree: Any, place: tuple[Any, ...], how: str, value: Any) -> Any:
    """A copy of ``tree`` in which the node at ``place`` is replaced, dropped, doubled or has an entry more."""
    if not place:
        return value
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    key, *rest = place
    if rest:
        copy[key] = changed(tree[key], tuple(rest), how, value)
    elif how == "drop":
        del copy[key]
    elif how == "wrap":
        copy[key] = [tree[key], tree[key]]
    elif how == "add" and isinstance(copy, dict):
        copy[str(value)[:20]] = tree[key]
    else:
        copy[key] = value
    return copy


@st.composite
def mutated(draw: st.DrawFn, trees: st.SearchStrategy[Any], values: st.SearchStrategy[Any] = VALUES) -> Any:
    """A tree with a node changed, or a few; values also come from other places of the tree."""
    tree = draw(trees)
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        ways = places(tree)
        place, other = draw(st.sampled_from(ways)), draw(st.sampled_from(ways))
        value = draw(st.one_of(values, st.just(_at(tree, other))))
        tree = changed(tree, place, draw(st.sampled_from(["replace", "replace", "drop", "wrap", "add"])), value)
    return tree


def _at(tree: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        tree = tree[key]
    return tree


def written(tree: Any) -> str:
    """As JSON text, with what strict JSON has no word for (nan, lone surrogates)."""
    return json.dumps(tree, ensure_ascii=False)


@st.composite
def damaged(draw: st.DrawFn, texts: st.SearchStrategy[bytes]) -> bytes:
    """Bytes cut short, flipped, spliced or repeated."""
    data = bytearray(draw(texts))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        how = draw(st.sampled_from(["cut", "flip", "set", "insert", "repeat", "delete"]))
        if how == "cut":
            del data[place:]
        elif how in ("flip", "set") and data:
            data[place] = data[place] ^ 1 << draw(st.integers(0, 7)) if how == "flip" else draw(st.integers(0, 255))
        elif how == "insert":
            data[place:place] = draw(st.binary(max_size=9))
        else:
            length = draw(st.integers(1, 40))
            part = data[place : place + length]
            data[place : place + length] = part * 2 if how == "repeat" else b""
    return bytes(data)
