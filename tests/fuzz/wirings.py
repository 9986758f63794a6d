"""Fuzzing wirings: JSON texts and files."""

import json
from typing import Any

import torch
from fuzz.guard import scratch
from fuzz.values import JSON, VALUES, damaged, mutated, written
from hypothesis import strategies as st

from compiler import compile
from wiring import PRESETS, Wiring, parse_wiring
from wiring.errors import ErrorwireError
from wiring.record import Word

COMPILED = 8
"""One accepted wiring in so many is compiled: those that draw ``TURN``, a number that Hypothesis does not prefer."""
TURN = 3

BY_HAND = {
    "name": "by_hand",
    "rules": [
        {
            "at": "*",
            "topology": {"kind": "explicit", "edges": [{"source": "output", "target": "3"}, {"source": "3", "target": "1"}]},
            "synapse": {"kind": "by_shape", "maps": {"kind": "kernel", "size": 3}, "vectors": {"kind": "dense"}},
            "credit": {"kind": "target", "beta": 0.5},
            "plasticity": {"kind": "hebbian"},
        }
    ],
    "sites": {"include": ["*"], "exclude": ["4"]},
}
WIRINGS: list[Any] = [json.loads(PRESETS[name]().to_json()) for name in PRESETS] + [BY_HAND]


def _kinds(family: type[Word] = Word) -> list[str]:
    return [kind for sub in family.__subclasses__() for kind in [*sub.words(), *_kinds(sub)] if isinstance(kind, str)]


WORDS = st.sampled_from(sorted(set(_kinds()))).map(lambda kind: {"kind": kind})
TREES = mutated(st.sampled_from(WIRINGS), st.one_of(VALUES, WORDS))


@st.composite
def crossed(draw: st.DrawFn) -> Any:
    """A wiring whose rules take each field from any rule of any: most can be read, and many compile."""
    tree = draw(st.sampled_from(WIRINGS))
    rules = [rule for wiring in WIRINGS for rule in wiring["rules"]]
    return tree | {
        "rules": [{field: draw(st.sampled_from(rules)).get(field, own[field]) for field in own} for own in tree["rules"]]
    }


TEXTS = st.one_of(
    TREES.map(written),
    TREES.map(written),
    crossed().map(written),
    crossed().map(written),
    JSON.map(written),
    st.text(),
    st.integers(100, 20_000).map(lambda depth: "[" * depth),
    st.integers(10, 3000).map(lambda depth: _by_shape(depth)),
)
STRATEGY = st.tuples(
    st.one_of(
        TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")),
        damaged(st.sampled_from(WIRINGS).map(written).map(str.encode)),
    ),
    st.integers(0, COMPILED - 1),
)


def _by_shape(depth: int) -> str:
    """A wiring whose synapse is nested ``depth`` levels deep."""
    head, tail = '{"kind": "by_shape", "maps": ', "}"
    synapse = head * depth + '{"kind": "pointwise"}' + tail * depth
    return f'{{"name": "deep", "rules": [{{"topology": {{"kind": "direct"}}, "synapse": {synapse}}}]}}'


def check(example: tuple[bytes, int]) -> str:
    """Read a wiring, as text and as a file; what is accepted goes to JSON and back, and now and then through the compiler."""
    data, turn = example
    with scratch() as folder:
        path = folder / "wiring.json"
        path.write_bytes(data)
        try:
            wiring = parse_wiring(str(path))
            assert Wiring.from_json(wiring.to_json()) == wiring
        except ErrorwireError as error:
            _read_as_text(data)
            return type(error).__name__
    return _compiled(wiring) if turn == TURN else "accepted"


def _read_as_text(data: bytes) -> None:
    try:
        Wiring.from_json(data.decode("utf-8", "surrogatepass"))
    except (ErrorwireError, UnicodeDecodeError):
        return


def _compiled(wiring: Wiring) -> str:
    torch.manual_seed(0)
    layers = [torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 8), torch.nn.Tanh(), torch.nn.Linear(8, 4)]
    try:
        compile(torch.nn.Sequential(*layers), wiring, (torch.randn(2, 6), torch.tensor([0, 1]))).report()
    except ErrorwireError as error:
        return f"compiled: {type(error).__name__}"
    return "compiled"
