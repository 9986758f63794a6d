"""Pictures of a study: what its cases came to over the epochs, means over seeds in bands from the lowest to the highest."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from runtime.plots import COLOURS, GREY
from runtime.reproduce.results import UPDATE, Result
from runtime.reproduce.scatter import scatter
from runtime.reproduce.study import WORDS, Angles, Case, Curves, Embedding, Picture, Study
from wiring.match import fits_any

RIGHT = 90  # degrees: no relation
Column = Sequence[float | None]


def draw(study: Study, figure: Picture, results: Mapping[str, Sequence[Result]]) -> Figure | None:
    """One of a study's pictures, or ``None`` where there is nothing to show yet.

    Arguments:
        results: by case.
    """
    look = Look.of(study.fitting(figure.cases))
    shown = {name: results[name] for name in look.colours if results.get(name)}
    if isinstance(figure, Embedding):
        return scatter(study, figure, shown)
    return _curves(study, figure, shown, look) if isinstance(figure, Curves) else _angles(study, figure, shown, look)


@dataclass(frozen=True)
class Look:
    """A colour for each of a picture's cases, in their order, whether it has been run or not; backpropagation is black."""

    colours: Mapping[str, str]

    @classmethod
    def of(cls, cases: Sequence[Case]) -> "Look":
        others = (COLOURS[place % len(COLOURS)] for place in itertools.count())
        return cls({case.name: "black" if _backpropagates(case) else next(others) for case in cases})


def _backpropagates(case: Case) -> bool:
    """Whether all of the network learns by backpropagation."""
    name, _, options = str(case.wiring).partition(":")
    return name == "bp" and "frozen=" not in options


def _curves(study: Study, curves: Curves, shown: Mapping[str, Sequence[Result]], look: Look) -> Figure | None:
    columns = {name: [r.history[curves.metric] for r in found if curves.metric in r.history] for name, found in shown.items()}
    columns = {name: found for name, found in columns.items() if found}
    if not columns:
        return None
    figure = Figure(figsize=(8.5, 4.4), layout="constrained")
    axes = figure.subplots()
    for name, found in columns.items():
        length = min(map(len, found))
        _band(axes, range(1, length + 1), found, name, look.colours[name])
    if curves.log:
        _logarithmic(axes)
    axes.set_ylabel(WORDS[curves.metric])
    _finish(figure, [axes], f"{study.title}, {curves.title}")
    return figure


def _angles(study: Study, angles: Angles, shown: Mapping[str, Sequence[Result]], look: Look) -> Figure | None:
    names = dict.fromkeys(name for found in shown.values() for r in found for name in r.measured if name != "epoch")
    sites = [name for name in names if not name.startswith(UPDATE)]
    if angles.of is not None:
        sites = list(dict.fromkeys(name for pattern in angles.of.split(",") for name in names if fits_any(name, [pattern])))
    if not sites:
        return None
    panels = {"": sites} if angles.mean else {_heading(site): [site] for site in sites}
    figure = Figure(figsize=(2.2 + (6.3 if angles.mean else 3.6 * len(sites)), 4.0), layout="constrained")
    row: list[Axes] = list(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0])
    for axes, (heading, of) in zip(row, panels.items(), strict=True):
        for name, found in shown.items():
            measured = [r.measured for r in found if any(site in r.measured for site in of)]
            if measured:
                length = min(len(m["epoch"]) for m in measured)
                epochs = [int(epoch or 0) for epoch in measured[0]["epoch"][:length]]
                _band(axes, epochs, [_mean(m, of) for m in measured], name, look.colours[name])
        axes.axhline(RIGHT, color=GREY, linestyle="--", linewidth=1)
        axes.set_title(heading, fontsize=10)
    row[0].set_ylim(0, max(100.0, row[0].get_ylim()[1]))
    row[0].set_yticks([tick for tick in range(0, 181, 30) if tick <= row[0].get_ylim()[1]])
    row[0].yaxis.set_major_formatter("{x:.0f}°")
    row[0].set_ylabel(angles.label)
    _finish(figure, row, f"{study.title}, {angles.title}")
    return figure


def _heading(site: str) -> str:
    return site if site.startswith(UPDATE) else f"site {site}"


def _mean(measured: Mapping[str, Column], of: Sequence[str]) -> Column:
    """The mean over columns, where all that there are have a number."""
    rows = zip(*(measured[name] for name in of if name in measured), strict=True)
    return [None if None in row else sum(value or 0.0 for value in row) / len(row) for row in rows]


def _band(axes: Axes, epochs: Sequence[int], columns: Sequence[Column], label: str, colour: str) -> None:
    """The mean of ``columns`` (a seed each) and the band that holds all of them; gaps where one has no number."""
    values = [list(found) for found in zip(*(column[: len(epochs)] for column in columns), strict=True)]
    rows = [[v for v in found if v is not None] if None not in found else [math.nan] for found in values]
    marker = "o" if len(rows) == 1 else None  # a line of one point cannot be seen
    axes.plot(epochs, [sum(row) / len(row) for row in rows], color=colour, linewidth=1.4, marker=marker, label=label)
    if len(columns) > 1:
        axes.fill_between(epochs, [min(row) for row in rows], [max(row) for row in rows], color=colour, alpha=0.2, linewidth=0)


def _finish(figure: Figure, row: Sequence[Axes], title: str) -> None:
    figure.suptitle(title, fontsize=11)
    for axes in row:
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    labelled = {label: line for axes in row for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    row[-1].legend(labelled.values(), labelled.keys(), loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False)


def _logarithmic(axes: Axes) -> None:
    """A logarithmic axis with plain numbers: at 1, 2 and 5 times the powers of ten, and at more within a single decade."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    named = (1, 2, 5) if high > 10 * low else (1, 2, 3, 4, 5, 6, 8)

    def plain(value: float, place: int | None) -> str:
        return f"{value:g}" if value > 0 and round(value / 10 ** math.floor(math.log10(value) + 1e-9), 6) in named else ""

    for formatted in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        formatted(FuncFormatter(plain))
