"""Timelines: that trace events hold every span, and what is in a picture: lanes, bars, labels, shares and times."""

import io
import json
from collections.abc import Sequence

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from compiler.simulation import Span
from compiler.timeline import kind, lanes, trace_json
from runtime.timeline import KINDS, draw_timeline

PREDICTED = (
    Span("forward:conv1", 0, 0.0, 0.002),
    Span("loss", 0, 0.002, 0.003),
    Span("update:conv1#2", 2, 0.0025, 0.0035),
    Span("credit:relu", 0, 0.003, 0.004),
)
MEASURED = (Span("forward:conv1", 0, 0.0001, 0.0026), Span("strange", 1, 0.001, 0.0025), Span("transmit:E$x_1$", 0, 0.0026, 0.005))
GROUPS = {"predicted": PREDICTED, "measured": MEASURED}


def many(count: int) -> list[Span]:
    """Tasks of every kind and of very different lengths on three streams."""
    clock, spans = [0.0, 0.0, 0.0], []
    for number in range(count):
        stream, start = number % 3, clock[number % 3]
        clock[stream] = start + 1e-6 * (1 + number * 7919 % 997) ** 1.3
        name = f"{list(KINDS)[number % len(KINDS)]}:layer{number % 5}.{number % 2}.conv_{number}"
        spans.append(Span(name, stream, start, clock[stream]))
    return spans


def rendered(figure: Figure) -> bytes:
    file = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(file, format="png")
    return file.getvalue()


def bars(figure: Figure, group: str) -> list[Rectangle]:
    (axes,) = (axes for axes in figure.axes if axes.get_label() == group)
    return [patch for patch in axes.patches if isinstance(patch, Rectangle) and patch.get_gid()]


def texts(figure: Figure, group: str) -> list[str]:
    (axes,) = (axes for axes in figure.axes if axes.get_label() == group)
    return [text.get_text() for text in axes.texts]


@pytest.mark.parametrize(
    ("task", "wanted"), [("forward:layer1.0.relu:2", "forward"), ("loss", "loss"), ("loss#2", "loss"), ("update:a#3", "update")]
)
def test_a_tasks_kind_stands_before_its_colon(task: str, wanted: str) -> None:
    assert kind(task) == wanted


def test_every_stream_has_a_lane_in_the_order_of_time() -> None:
    found = lanes(reversed(PREDICTED))
    assert list(found) == [0, 1, 2]
    assert [span.task for span in found[0]] == ["forward:conv1", "loss", "credit:relu"]
    assert found[1] == []
    assert lanes([]) == {}


@pytest.mark.parametrize("groups", [GROUPS, {"predicted": many(600)}, {"a": PREDICTED[:0]}, {}])
def test_trace_events_hold_every_span(groups: dict[str, Sequence[Span]]) -> None:
    events = json.loads(json.dumps(trace_json(groups), allow_nan=False))["traceEvents"]
    names = {event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"}
    assert list(names.values()) == list(groups)
    threads = {(event["pid"], event["tid"]): event["args"]["name"] for event in events if event["name"] == "thread_name"}
    found: dict[str, list[Span]] = {group: [] for group in groups}
    for event in events:
        if event["ph"] == "X":
            assert threads[event["pid"], event["tid"]] == f"stream {event['tid']}"
            assert event["cat"] == kind(event["name"])
            start = event["ts"] / 1e6
            found[names[event["pid"]]].append(Span(event["name"], event["tid"], start, start + event["dur"] / 1e6))
        else:
            assert event["ph"] == "M"
    for group, spans in groups.items():
        assert sorted(span.task for span in found[group]) == sorted(span.task for span in spans)
        wanted = {span.task: span for span in spans}
        for span in found[group]:
            assert span.stream == wanted[span.task].stream
            assert (span.start, span.end) == pytest.approx((wanted[span.task].start, wanted[span.task].end), abs=1e-12)


def test_tasks_of_one_kind_have_one_colour_in_a_trace() -> None:
    colours: dict[str, set[str | None]] = {}
    for event in trace_json({"a": many(60), "b": many(30)})["traceEvents"]:
        if event["ph"] == "X":
            colours.setdefault(event["cat"], set()).add(event.get("cname"))
    assert all(len(found) == 1 for found in colours.values())
    assert len(colours) == len(KINDS)


def test_a_picture_has_a_lane_a_stream_and_a_bar_a_span_where_it_ran() -> None:
    figure = draw_timeline(GROUPS, "two groups")
    assert [axes.get_label() for axes in figure.axes] == ["predicted", "measured"]
    assert figure.axes[0].get_position().y0 > figure.axes[1].get_position().y1
    for axes, (group, spans) in zip(figure.axes, GROUPS.items(), strict=True):
        assert [label.get_text() for label in axes.get_yticklabels()] == [f"stream {stream}" for stream in lanes(spans)]
        drawn = {str(bar.get_gid()): bar for bar in bars(figure, group)}
        assert set(drawn) == {span.task for span in spans}
        for span in spans:
            bar = drawn[span.task]
            assert (bar.get_x(), bar.get_width()) == pytest.approx((1e3 * span.start, 1e3 * (span.end - span.start)))
            assert bar.get_y() < span.stream < bar.get_y() + bar.get_height()
        assert axes.get_xlim() == pytest.approx((0, 5))
    assert figure.axes[-1].get_xlabel().endswith("ms")


def test_a_picture_says_how_long_each_group_took_and_how_busy_each_stream_was() -> None:
    figure = draw_timeline(GROUPS, "two groups")
    assert {"predicted", "4.00 ms", "100%", "0%", "25%"} <= set(texts(figure, "predicted"))
    assert {"measured", "5.00 ms", "98%", "30%"} <= set(texts(figure, "measured"))
    assert [text.get_text() for text in figure.texts] == ["two groups"]


def test_the_legend_names_the_kinds_that_there_are() -> None:
    (legend,) = draw_timeline(GROUPS, "").legends
    assert [text.get_text() for text in legend.get_texts()] == ["forward", "loss", "transmit", "credit", "update", "other"]


@pytest.mark.parametrize(("whole", "unit"), [(3.0, "s"), (0.25, "ms"), (4e-5, "µs"), (0.0, "µs")])
def test_the_axis_has_a_unit_that_fits(whole: float, unit: str) -> None:
    figure = draw_timeline({"predicted": [Span("loss", 0, 0.0, whole)]}, "")
    assert figure.axes[0].get_xlabel().endswith(f", {unit}")
    assert rendered(figure)


@pytest.mark.parametrize("count", [3, 10, 60, 600])
def test_labels_stay_inside_their_bars(count: int) -> None:
    spans = many(count)
    figure = draw_timeline({"predicted": spans, "measured": spans[: count // 2]}, f"{count} tasks")
    rendered(figure)
    written = 0
    for axes in figure.axes:
        boxes = [bar.get_window_extent() for bar in bars(figure, str(axes.get_label()))]
        for text in axes.texts:
            if "conv" in text.get_text():
                inner = text.get_window_extent()
                assert any(
                    box.x0 <= inner.x0 and inner.x1 <= box.x1 and box.y0 <= inner.y0 and inner.y1 <= box.y1 for box in boxes
                ), text.get_text()
                written += 1
    assert (written > 0) == (count <= 60)
    assert all(len(bars(figure, group)) == size for group, size in (("predicted", count), ("measured", count // 2)))


@pytest.mark.parametrize("groups", [{}, {"predicted": []}, {"predicted": [], "measured": MEASURED}])
def test_what_did_not_run_is_drawn_as_nothing(groups: dict[str, Sequence[Span]]) -> None:
    figure = draw_timeline(groups, "nothing")
    assert rendered(figure)
    assert len(figure.axes) == len(groups)
    assert not groups or "nothing ran" in texts(figure, "predicted")
