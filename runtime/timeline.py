"""A picture of a step on its streams: what ran where and when, predicted above measured, drawn as the other plots are."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from compiler.drawing.look import INK, OTHER, WHITE
from compiler.drawing.pen import ruler
from compiler.simulation import Span, makespan
from compiler.timeline import kind, lanes, trace_json
from runtime.executors.watch import Timeline
from runtime.files import write_whole
from runtime.plots import GREY, save_figure

# Told apart by colour-blind people (Okabe and Ito 2008); the forward pass is grey, as in drawings of programs.
KINDS = {
    "forward": "#b4b4b4",
    "loss": "#d55e00",
    "transmit": "#0072b2",
    "credit": "#e69f00",
    "update": "#009e73",
    "plasticity": "#cc79a7",
    "other": OTHER,
}
SAME = {
    "signal": "loss",
    "discrepancy": "loss",
    "gradient": "update",
    "noise": "plasticity",
}  # small kinds of task, shown as those that they belong to
LIGHT = ("forward", "credit", "plasticity")  # which dark letters can be read on
LANE, HEADING, FOOT, GAP = 0.34, 0.3, 0.5, 0.16  # inches
LEFT, WIDTH, RIGHT, TOP = 0.85, 10.0, 0.65, 0.58
BAR = 0.8  # of a lane
LETTERS, SMALL = 6.5, 8.0  # points
NARROW, MARGIN = 0.12, 0.05  # inches; narrower bars have no text, which keeps clear of a bar's ends by half the margin each
HAIR = 0.02  # inches; narrower bars have no rim, which would hide them


def draw_timeline(groups: Mapping[str, Sequence[Span]], title: str) -> Figure:
    """Draw groups of spans (as "predicted", "measured") above each other on one time axis.

    Each stream is a lane with a bar a span, coloured by the task's kind; the share of the group's time in which it is busy
    stands at its right end, the group's time above it.
    """
    laned = {group: lanes(spans) or {0: []} for group, spans in groups.items()}
    whole = max((makespan(spans) for spans in groups.values()), default=0.0)
    unit, name = _unit(whole)
    heights = {group: HEADING + LANE * len(found) for group, found in laned.items()}
    size = LEFT + WIDTH + RIGHT, TOP + sum(heights.values()) + GAP * max(0, len(laned) - 1) + FOOT
    figure = Figure(figsize=size, facecolor="white")
    figure.text(LEFT / size[0], 1 - 0.24 / size[1], title, fontsize=11, va="center", color=INK)
    _legend(figure, size, [span for spans in groups.values() for span in spans])
    below = size[1] - TOP
    for group, found in laned.items():
        below -= heights[group]
        place = LEFT / size[0], below / size[1], WIDTH / size[0], LANE * len(found) / size[1]
        axes = figure.add_axes(place, label=group)
        axes.set_xlim(0, whole / unit or 1.0)
        _lanes(axes, found, makespan(groups[group]), unit)
        total = f"{makespan(groups[group]) / unit:#.3g}".rstrip(".") + f" {name}" if groups[group] else "nothing ran"
        _heading(axes, group, total)
        below -= GAP
    for axes in figure.axes[:-1]:
        axes.tick_params(axis="x", labelbottom=False)
    for axes in figure.axes[-1:]:
        axes.set_xlabel(f"time since the start of the step, {name}")
    return figure


def _unit(whole: float) -> tuple[float, str]:
    return next(((unit, name) for unit, name in ((1.0, "s"), (1e-3, "ms")) if whole >= unit), (1e-6, "µs"))


def _heading(axes: Axes, group: str, total: str) -> None:
    above: dict[str, Any] = {"textcoords": "offset points", "annotation_clip": False}
    name = axes.annotate(group, (0, 1), (0, 5), xycoords="axes fraction", weight="bold", color=INK, **above)
    axes.annotate(total, (1, 1), (8, 5), xycoords=(name, "axes fraction"), color=INK, **above)
    axes.annotate("busy", (1, 1), (5, 5), xycoords="axes fraction", fontsize=SMALL, color=GREY, **above)


def _lanes(axes: Axes, found: Mapping[int, Sequence[Span]], total: float, unit: float) -> None:
    inch = axes.get_xlim()[1] / WIDTH
    for stream, spans in found.items():
        axes.axhspan(stream - BAR / 2, stream + BAR / 2, facecolor="#f3f3f3", zorder=0)
        for span in spans:
            _bar(axes, span, unit, inch)
        busy = math.fsum(span.end - span.start for span in spans) / total if total else 0.0
        axes.annotate(
            f"{busy:.0%}", (1, stream), (5, 0), xycoords=("axes fraction", "data"), textcoords="offset points", va="center",
            fontsize=SMALL, color=INK,
        )  # fmt: skip
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_yticks(list(found), [f"stream {stream}" for stream in found], fontsize=SMALL)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=SMALL)
    axes.grid(axis="x", alpha=0.35, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "left", "right"]].set_visible(False)


def _bar(axes: Axes, span: Span, unit: float, inch: float) -> None:
    start, length = span.start / unit, (span.end - span.start) / unit
    shown = _shown(span)
    rim = 0.5 if length / inch > HAIR else 0.0
    axes.add_patch(
        Rectangle(
            (start, span.stream - BAR / 2), length, BAR, facecolor=KINDS[shown], edgecolor=WHITE, linewidth=rim, gid=span.task
        )
    )
    text = _fitting(span.task.partition(":")[2] or span.task, length / inch)
    if text:
        colour = INK if shown in LIGHT else WHITE
        axes.text(
            start + length / 2, span.stream, text, fontsize=LETTERS, color=colour, ha="center", va="center", linespacing=1.0,
            parse_math=False,
        )  # fmt: skip


def _fitting(name: str, inches: float) -> str:
    """The name on one line or on two, whichever fits between the bar's ends, or nothing."""
    if inches < NARROW:
        return ""
    breaks = [place for place, letter in enumerate(name, 1) if letter in ".:_#" and place < len(name)]
    middle = min(breaks, key=lambda place: abs(2 * place - len(name)), default=0)
    for place in (0, name.rfind(".") + 1, middle):
        if max(ruler(line, LETTERS, False) for line in (name[:place], name[place:])) + MARGIN < inches:
            return f"{name[:place]}\n{name[place:]}" if place else name
    return ""


def _shown(span: Span) -> str:
    """The kind that a span is coloured as."""
    own = SAME.get(kind(span.task), kind(span.task))
    return own if own in KINDS else "other"


def _legend(figure: Figure, size: tuple[float, float], spans: Iterable[Span]) -> None:
    there = {_shown(span) for span in spans}
    handles = [Patch(facecolor=colour, label=name) for name, colour in KINDS.items() if name in there]
    corner = LEFT / size[0], 1 - 0.38 / size[1]
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=corner, ncols=len(KINDS), frameon=False, fontsize=SMALL, borderpad=0,
        borderaxespad=0, handlelength=1.2, handleheight=0.8, columnspacing=1.4, handletextpad=0.5,
    )  # fmt: skip


def save_timeline(timeline: Timeline, title: str, folder: Path) -> None:
    """Write ``schedule.txt``, ``timeline.json`` (for ui.perfetto.dev), ``timeline.png`` and ``timeline.svg``.

    Raises:
        FileError: the disk refuses.
    """
    write_whole(folder / "schedule.txt", f"{timeline.schedule}\n")
    write_whole(folder / "timeline.json", json.dumps(trace_json(timeline.groups)) + "\n")
    save_figure(draw_timeline(timeline.groups, title), folder / "timeline")
