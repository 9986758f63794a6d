"""Small networks drawn by hypothesis: random graphs of layers, and chains; each prints as the program that it computes.

All have seed 0: pools draw seeds.

Ill-conditioned nets are left out, so that two ways to compute one number agree to rounding: no normalisation over fewer than three
numbers, which would leave next to nothing of a gradient.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from hypothesis.vendor.pretty import RepresentationPrinter
from torch import Tensor, nn

Shape = tuple[int, ...]
"""Of one sample: ``(features,)`` or ``(channels, height, width)``."""


def is_map(shape: Shape) -> bool:
    return len(shape) == 3


def is_vector(shape: Shape) -> bool:
    return len(shape) == 1


@dataclass(frozen=True)
class Layer:
    """``module(shape, width)`` takes values for whose shape ``fits`` holds to values of shape ``result(shape, width)``."""

    module: Callable[[Shape, int], nn.Module]
    fits: Callable[[Shape], bool] = lambda shape: True
    result: Callable[[Shape, int], Shape] = lambda shape, width: shape


def batch_norm(shape: Shape, width: int) -> nn.Module:
    return (nn.BatchNorm2d if is_map(shape) else nn.BatchNorm1d)(shape[0])


def group_norm(shape: Shape, width: int) -> nn.Module:
    """Two groups where each has three numbers or more."""
    return nn.GroupNorm(2 if shape[0] % 2 == 0 and math.prod(shape) >= 6 else 1, shape[0])


def can_be_halved(shape: Shape) -> bool:
    return is_map(shape) and min(shape[1:]) > 1


def halved(shape: Shape, width: int) -> Shape:
    return (shape[0], *(size // 2 for size in shape[1:]))


SYNAPSES = {
    "linear": Layer(lambda shape, width: nn.Linear(shape[0], width), is_vector, lambda shape, width: (width,)),
    "conv": Layer(
        lambda shape, width: nn.Conv2d(shape[0], width, 3, padding=1), is_map, lambda shape, width: (width, *shape[1:])
    ),
    "strided_conv": Layer(
        lambda shape, width: nn.Conv2d(shape[0], width, 3, stride=2, padding=1, bias=False),
        is_map,
        lambda shape, width: (width, *((size + 1) // 2 for size in shape[1:])),
    ),
}  # fmt: skip
ACTIVATIONS = {
    "tanh": Layer(lambda shape, width: nn.Tanh()),
    "relu": Layer(lambda shape, width: nn.ReLU()),
    "sigmoid": Layer(lambda shape, width: nn.Sigmoid()),
    "elu": Layer(lambda shape, width: nn.ELU()),
    "softplus": Layer(lambda shape, width: nn.Softplus()),
    "gelu": Layer(lambda shape, width: nn.GELU()),
}
RESHAPING = {
    "max_pool": Layer(lambda shape, width: nn.MaxPool2d(2), can_be_halved, halved),
    "avg_pool": Layer(lambda shape, width: nn.AvgPool2d(2), can_be_halved, halved),
    "flatten": Layer(lambda shape, width: nn.Flatten(), is_map, lambda shape, width: (math.prod(shape),)),
}
NORMS = {
    "layer_norm": Layer(lambda shape, width: nn.LayerNorm(shape)),
    "group_norm": Layer(group_norm),
}
BATCH_NORM = {"batch_norm": Layer(batch_norm)}
DROPOUT = {"dropout": Layer(lambda shape, width: nn.Dropout(0.3))}
LAYERS = SYNAPSES | ACTIVATIONS | RESHAPING | NORMS | BATCH_NORM | DROPOUT
JOINS: dict[str, Callable[[list[Tensor]], Tensor]] = {
    "add": lambda values: values[0] + values[1],
    "concat": lambda values: torch.cat(values, 1),
}


@dataclass(frozen=True)
class Line:
    """A layer or a join, the numbers of the values that it reads, and the width of a synapse's result."""

    op: str
    sources: tuple[int, ...]
    width: int = 0

    def result(self, shapes: Sequence[Shape]) -> Shape:
        """The shape of the line's value, given those of the values before it."""
        first, *others = [shapes[source] for source in self.sources]
        if self.op == "concat":
            return (first[0] + sum(other[0] for other in others), *first[1:])
        return first if self.op == "add" else LAYERS[self.op].result(first, self.width)


@dataclass(frozen=True, repr=False)
class Network:
    """A network and a batch for it. Value ``v0`` is the input, line ``n`` makes ``vn``, and a linear head reads all that no line reads."""

    shape: Shape
    lines: tuple[Line, ...]
    classes: int
    batch: int
    seed: int

    def shapes(self) -> list[Shape]:
        """Of every value."""
        found = [self.shape]
        for line in self.lines:
            found.append(line.result(found))
        return found

    def loose(self) -> list[int]:
        """Values that no line reads."""
        read = {source for line in self.lines for source in line.sources}
        return [value for value in range(1, len(self.lines) + 1) if value not in read]

    def model(self) -> "DagNet":
        """In float64, with the weights of its seed: the same at every call."""
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            return DagNet(self).double()

    def data(self) -> tuple[Tensor, Tensor]:
        """Inputs ``[batch, *shape]``, normal, and labels ``[batch]``: the same at every call."""
        source = torch.Generator().manual_seed(self.seed + 1)
        x = torch.randn(self.batch, *self.shape, generator=source, dtype=torch.float64)
        return x, torch.randint(self.classes, (self.batch,), generator=source)

    def __repr__(self) -> str:
        text = [f"v0 = input{[self.batch, *self.shape]}  # seed {self.seed}"]
        for number, line in enumerate(self.lines, start=1):
            arguments = [f"v{source}" for source in line.sources] + ([str(line.width)] if line.op in SYNAPSES else [])
            text.append(f"v{number} = {line.op}({', '.join(arguments)})")
        ends = ", ".join(f"flatten(v{value})" for value in self.loose())
        return "\n".join([*text, f"head = linear(concat({ends}), {self.classes})"])

    def _repr_pretty_(self, printer: RepresentationPrinter, cycle: bool) -> None:
        """In hypothesis's reports too."""
        printer.text(repr(self))


class DagNet(nn.Module):
    """Runs a network's lines in order; the module of line ``n`` is called ``vn``."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        shapes = network.shapes()
        for number, line in enumerate(network.lines, start=1):
            if line.op in LAYERS:
                self.add_module(f"v{number}", LAYERS[line.op].module(shapes[line.sources[0]], line.width))
        self.head = nn.Linear(sum(math.prod(shapes[value]) for value in network.loose()), network.classes)

    def forward(self, x: Tensor) -> Tensor:
        values = [x]
        for number, line in enumerate(self.network.lines, start=1):
            read = [values[source] for source in line.sources]
            values.append(JOINS[line.op](read) if line.op in JOINS else self.get_submodule(f"v{number}")(*read))
        ends = [values[value].flatten(1) for value in self.network.loose()]
        logits: Tensor = self.head(ends[0] if len(ends) == 1 else torch.cat(ends, 1))
        return logits

    def __repr__(self) -> str:
        return repr(self.network)


VECTORS: list[Shape] = [(3,), (5,)]
MAPS: list[Shape] = [(1, 4, 4), (2, 6, 6), (3, 5, 5)]
WIDTHS = st.sampled_from([3, 4, 6])
BATCHES = st.integers(3, 5)
CLASSES = st.integers(3, 5)


@st.composite
def dags(draw: st.DrawFn, most: int = 8, batch_norm: bool = True, dropout: bool = False) -> Network:
    """Up to ``most`` lines behind a first synapse and its activation (so that there is a site), each reading any values before it."""
    others = RESHAPING | NORMS | (BATCH_NORM if batch_norm else {}) | (DROPOUT if dropout else {})
    shapes = [draw(st.sampled_from(VECTORS + MAPS))]
    lines: list[Line] = []

    def put(line: Line) -> None:
        lines.append(line)
        shapes.append(line.result(shapes))

    put(Line("conv" if is_map(shapes[0]) else "linear", (0,), draw(WIDTHS)))
    put(Line(draw(st.sampled_from(list(ACTIVATIONS))), (1,)))
    for _ in range(draw(st.integers(0, most))):
        place = draw(_recent(len(shapes)))
        kind = draw(st.sampled_from([SYNAPSES, ACTIVATIONS, JOINS, others]))
        op = draw(st.sampled_from([name for name in kind if name in JOINS or LAYERS[name].fits(shapes[place])]))
        if op in JOINS:
            put(Line(op, (place, draw(st.sampled_from(_partners(op, place, shapes))))))
        else:
            put(Line(op, (place,), draw(WIDTHS) if op in SYNAPSES else 0))
    return Network(shapes[0], tuple(lines), draw(CLASSES), draw(BATCHES), seed=0)


def _recent(count: int) -> st.SearchStrategy[int]:
    """A value's number, mostly one of the last: graphs grow deep rather than wide."""
    return st.one_of(st.just(count - 1), st.integers(max(1, count - 3), count - 1), st.integers(0, count - 1))


def _partners(op: str, place: int, shapes: Sequence[Shape]) -> list[int]:
    """What can be joined with a value, itself included."""
    own = shapes[place]
    same = [number for number, shape in enumerate(shapes) if shape == own or (op == "concat" and shape[1:] == own[1:])]
    return [number for number in same if len(shapes[number]) == len(own)]


@st.composite
def chains(draw: st.DrawFn, maps: bool = False, most: int = 3) -> Network:
    """One to ``most`` hidden layers, each one synapse and one activation: ``linear`` on vectors, ``conv`` where ``maps``."""
    lines = []
    for number in range(draw(st.integers(1, most))):
        lines.append(Line("conv" if maps else "linear", (2 * number,), draw(WIDTHS)))
        lines.append(Line(draw(st.sampled_from(list(ACTIVATIONS))), (2 * number + 1,)))
    shape = draw(st.sampled_from(MAPS if maps else VECTORS))
    return Network(shape, tuple(lines), draw(CLASSES), draw(BATCHES), seed=0)
