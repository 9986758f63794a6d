"""Program -> the picture of its wiring, and what hovering says of each site: shapes, parameters and the formulas of its rule."""

import inspect
from typing import Any

from compiler import UpdateProgram
from compiler.drawing.diagram import diagram
from compiler.errorgraph import ErrorEdge
from runtime.page.folding import folded
from runtime.page.geometry import style_entries, view
from wiring import OUTPUT, Mirror
from wiring.record import Record, Word

SIGNALS = {
    "error": "The output sends its error `e = N dloss/dv`.",
    "sign": "The output sends the sign of its error `e = N dloss/dv`.",
    "target": "The output sends the target `t`, as one-hot labels.",
}
UPDATES = {
    "local_gradient": "The region's parameters learn by its own vector-Jacobian product with `c`.",
    "hebbian": "The region's parameters learn by `dW = c z_in^T`, normalisations passed by.",
    "loss": "The output's region learns from the loss itself, by its own gradient.",
}


class Words:
    """The words that sites use, each once: how it is written with its settings, and its docstring."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str]] = []

    def of(self, word: Word) -> int:
        """A word's place."""
        entry = written(word), (inspect.getdoc(type(word)) or "").replace("``", "`")
        if entry not in self.entries:
            self.entries.append(entry)
        return self.entries.index(entry)


def graph(program: UpdateProgram) -> dict[str, Any]:
    """The picture, site by site and with blocks folded where there are any; details of every site; the words of the wiring."""
    shown = diagram(program)
    blocks = folded(shown)
    words = Words()
    sites = {name: _site(name, program, words) for name in program.plan.errors.sites}
    return {
        "title": shown.title,
        "subtitle": shown.subtitle,
        "caption": shown.caption,
        "styles": style_entries(shown),
        "views": {"sites": view(shown)} | ({} if blocks is None else {"blocks": view(blocks)}),
        "members": {group.name: group.members for group in shown.groups if group.level == 0},
        "sites": {**sites, OUTPUT: _output(program)},
        "words": words.entries,
        "signals": SIGNALS,
        "updates": UPDATES,
    }


def _site(name: str, program: UpdateProgram, words: Words) -> dict[str, Any]:
    errors = program.plan.errors
    rule, site = errors.rules[name], errors.sites[name]
    hears_output = any(edge.source == OUTPUT for edge in errors.edges[name])
    return {
        "shape": site.shape,
        "parameters": _parameters(errors.parts.regions[site.h].parameters, program),
        "topology": words.of(rule.topology),
        "credit": words.of(rule.credit),
        "signal": rule.signal if hears_output else None,
        "update": rule.update,
        "summed": rule.reduction == "sum",
        "hears": [_edge(edge, program, words) for edge in errors.edges[name]],
    }


def _output(program: UpdateProgram) -> dict[str, Any]:
    """The output hears nobody: its own region learns from the loss."""
    region = program.plan.errors.parts.output
    return {
        "shape": tuple(region.head.meta["val"].shape),
        "parameters": _parameters(region.parameters, program),
        "update": "loss",
        "hears": [],
    }


def _parameters(names: list[str], program: UpdateProgram) -> list[tuple[str, list[int]]]:
    """With shapes; those that do not learn are left out."""
    learning = set(program.lowered.layout.gradients)
    return _shapes([name for name in names if name in learning], program)


def _shapes(names: list[str], program: UpdateProgram) -> list[tuple[str, list[int]]]:
    return [(name, list(program.model.get_parameter(name).shape)) for name in names]


def _edge(edge: ErrorEdge, program: UpdateProgram, words: Words) -> dict[str, Any]:
    """An edge with the shape of its own synapse, or with the forward weights (of two axes and more) that its mirrors stand for."""
    own = program.error_parameters[edge.parameter] if edge.parameter is not None else None
    mirror = edge.synapse if isinstance(edge.synapse, Mirror) else None
    learns = mirror is None or mirror.weights == "random"
    return {
        "source": edge.source,
        "kind": edge.kind,
        "synapse": words.of(edge.synapse),
        "plasticity": words.of(edge.plasticity) if learns else None,
        "shape": None if own is None else own.shape,
        "mirrored": [] if mirror is None else _mirrored(edge, program),
    }


def _mirrored(edge: ErrorEdge, program: UpdateProgram) -> list[tuple[str, list[int]]]:
    passed = program.plan.errors.path_weights(edge.source, edge.target)
    return [(name, shape) for name, shape in _shapes(passed, program) if len(shape) > 1]


def written(word: Record) -> str:
    """A record as ``kind(field=value, ...)``; fields that are not set are left out."""
    settings = {name: value for name, value in word if name != "kind" and value is not None}
    inner = ", ".join(f"{name}={_setting(value)}" for name, value in settings.items())
    name = getattr(word, "kind", type(word).__name__)
    return f"{name}({inner})" if inner else str(name)


def _setting(value: object) -> str:
    if isinstance(value, Record):
        return written(value)
    return f"{len(value)} of them" if isinstance(value, tuple) and value and isinstance(value[0], Record) else str(value)
