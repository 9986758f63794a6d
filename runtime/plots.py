"""Pictures of runs and comparisons, drawn through matplotlib's objects: no pyplot, no global state, no display."""

import io
import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from runtime.comparison import Comparison, Row
from runtime.files import write_whole
from runtime.metrics import EpochMetrics

COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b", "#e377c2", "#17becf", "#bcbd22")
MARKERS = "osD^vPX<>"
GREY = "#666666"
MOST_NAMES = 40  # sites whose names can still be read below an axis
DPI = 150


def save_figure(figure: Figure, stem: Path) -> tuple[Path, Path]:
    """Write ``stem.png`` and ``stem.svg``, the same bytes for the same figure, and return them.

    Raises:
        FileError: the disk refuses.
    """
    png, svg = io.BytesIO(), io.BytesIO()
    FigureCanvasAgg(figure).print_figure(png, format="png", dpi=DPI)
    with rc_context({"svg.hashsalt": stem.name}):
        FigureCanvasSVG(figure).print_figure(svg, format="svg", metadata={"Date": None})
    paths = stem.parent / f"{stem.name}.png", stem.parent / f"{stem.name}.svg"
    for path, content in zip(paths, (png, svg), strict=True):
        write_whole(path, content.getvalue())
    return paths


def curves(title: str, history: Sequence[EpochMetrics]) -> Figure:
    """Loss and accuracy of a run over its epochs, training and test."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    figure.suptitle(title, fontsize=11)
    loss, accuracy = figure.subplots(1, 2)
    train, test = COLOURS[0], COLOURS[1]
    _line(loss, [epoch.train_loss for epoch in history], "training, while learning", train, "o")
    _line(loss, [epoch.test_loss for epoch in history], "test", test, "s")
    _line(accuracy, [epoch.train_accuracy for epoch in history], "training, while learning", train, "o")
    _line(accuracy, [epoch.test_accuracy for epoch in history], "test", test, "s")
    loss.set_ylabel("loss")
    _as_accuracy(accuracy, "accuracy")
    for axes in (loss, accuracy):
        _over_epochs(axes, len(history))
        axes.legend(frameon=False)
    return figure


def accuracies(comparison: Comparison) -> Figure:
    """Test accuracy over the epochs, a line a wiring; the legend is in the order of the last epoch."""
    figure = Figure(figsize=(8.5, 4.4), layout="constrained")
    axes = figure.subplots()
    trained = [row for row in comparison.rows if row.history]
    for row in sorted(trained, key=lambda row: -(row.test_accuracy or 0)):
        colour, marker = _look(comparison, row)
        label = f"{row.wiring}  {row.test_accuracy or 0:.1%}"
        _line(axes, [epoch.test_accuracy for epoch in row.history], label, colour, marker)
    _as_accuracy(axes, "test accuracy")
    _over_epochs(axes, max((len(row.history) for row in trained), default=1))
    axes.set_title(_title(comparison), fontsize=11)
    _legend(axes)
    return figure


def step_time_bars(comparison: Comparison) -> Figure:
    """A learning step's time over that of plain eager backpropagation; whiskers from quartile to quartile."""
    timed = [(row, row.step) for row in comparison.rows if row.step is not None]
    figure = Figure(figsize=(7.5, 1.4 + 0.34 * len(timed)), layout="constrained")
    axes = figure.subplots()
    for place, (row, step) in enumerate(timed):
        axes.barh(place, step.ratio, height=0.62, color=_look(comparison, row)[0], alpha=0.6)
        axes.plot([step.low, step.high], [place, place], color="black", linewidth=1.3, marker="|", markersize=6)
        axes.annotate(f"{step.ratio:.2f}", (max(step.ratio, step.high), place), (5, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(timed)), [row.wiring for row, _ in timed])
    axes.invert_yaxis()
    axes.axvline(1, color=GREY, linestyle="--", linewidth=1)
    axes.margins(x=0.1)
    axes.set_xlim(left=0)
    plain = timed[0][1].bp_milliseconds if timed else math.nan
    axes.set_xlabel(f"step time / plain eager backpropagation ({plain:.2f} ms, dashed), no optimiser")
    axes.set_title(_title(comparison), fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def site_angles(comparison: Comparison) -> Figure:
    """The angle between credit and gradient at every site, from the input's side to the output's."""
    measured = [(row, row.angle.sites) for row in comparison.rows if row.angle is not None]
    names = list(dict.fromkeys(site for _, sites in sorted(measured, key=lambda pair: -len(pair[1])) for site in sites))
    named = len(names) <= MOST_NAMES
    figure = Figure(figsize=(max(7.0, min(14.0, 3.5 + 0.32 * len(names))), 4.6), layout="constrained")
    axes = figure.subplots()
    for row, sites in measured:
        points = [(place, sites[name]) for place, name in enumerate(names) if math.isfinite(sites.get(name, math.nan))]
        if points and row.wiring != "bp":
            _points(axes, points, row.wiring, *_look(comparison, row))
    axes.axhline(90, color=GREY, linestyle="--", linewidth=1)
    axes.set_ylim(0, max([100.0, *(a + 10 for _, sites in measured for a in sites.values() if math.isfinite(a))]))
    axes.set_yticks([tick for tick in range(0, 181, 30) if tick <= axes.get_ylim()[1]])
    axes.yaxis.set_major_formatter("{x:.0f}°")
    if named:
        slanted = sum(map(len, names)) > 60
        axes.set_xticks(range(len(names)), names, rotation=40 if slanted else 0, ha="right" if slanted else "center")
    axes.set_xlabel("site" if named else f"{len(names)} sites, from the input to the output")
    axes.set_ylabel("angle of credit to gradient\n(0° is backpropagation, 90° chance)")
    axes.set_title(f"{_title(comparison)}, after the last step", fontsize=11)
    axes.grid(axis="y", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    _legend(axes)
    return figure


def _look(comparison: Comparison, row: Row) -> tuple[str, str]:
    """A wiring's colour and marker, the same in every picture; backpropagation is black."""
    if row.wiring == "bp":
        return "black", "."
    others = [other.wiring for other in comparison.rows if other.wiring != "bp"]
    place = others.index(row.wiring)
    return COLOURS[place % len(COLOURS)], MARKERS[(place + place // len(COLOURS)) % len(MARKERS)]


def _line(axes: Axes, values: Sequence[float | None], label: str, colour: str, marker: str) -> None:
    points = [(epoch, value) for epoch, value in enumerate(values, 1) if value is not None and math.isfinite(value)]
    if points:
        _points(axes, points, label, colour, marker)


def _points(axes: Axes, points: Sequence[tuple[float, float]], label: str, colour: str, marker: str) -> None:
    axes.plot(*zip(*points, strict=True), color=colour, marker=marker, markersize=4, linewidth=1.4, label=label)


def _as_accuracy(axes: Axes, label: str) -> None:
    axes.set_ylabel(label)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_ylim(top=min(1.02, axes.get_ylim()[1] + 0.02))


def _over_epochs(axes: Axes, epochs: int) -> None:
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(0.5 if epochs == 1 else 0.8, epochs + (0.5 if epochs == 1 else 0.2))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _legend(axes: Axes) -> None:
    """Beside the axes, so that it hides nothing; where there is nothing, that is said."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False)
    else:
        axes.text(0.5, 0.5, "nothing to show", color=GREY, ha="center", transform=axes.transAxes)


def _title(comparison: Comparison) -> str:
    return f"{comparison.model} on {comparison.data}"
