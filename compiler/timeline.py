"""Spans of tasks -> trace events, the JSON that Perfetto (ui.perfetto.dev) and chrome://tracing open.

Source: "Trace Event Format", https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsTchNAySU.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from compiler.simulation import Span

# Names from the tracers' own palette; a kind that is not here gets the colour that the tracer makes of its name.
TRACE_COLOURS = {
    "forward": "thread_state_runnable",
    "transmit": "thread_state_iowait",
    "credit": "rail_animation",
    "update": "thread_state_running",
    "plasticity": "detailed_memory_dump",
    "noise": "light_memory_dump",
    "loss": "terrible",
}


def kind(task: str) -> str:
    """A task's kind: what stands before the colon of its name, without the number that tells parts of one task apart."""
    return task.partition(":")[0].partition("#")[0]


def lanes(spans: Iterable[Span]) -> dict[int, list[Span]]:
    """The spans of each stream by their start; streams in the order of their numbers, none left out."""
    ordered = sorted(spans, key=lambda span: (span.start, span.end))
    found: dict[int, list[Span]] = {stream: [] for stream in range(max((span.stream for span in ordered), default=-1) + 1)}
    for span in ordered:
        found[span.stream].append(span)
    return found


def trace_json(groups: Mapping[str, Sequence[Span]]) -> dict[str, Any]:
    """Trace events of groups of spans: a process each group (as "predicted", "measured"), a named thread each stream.

    Returns:
        What ``json.dump`` writes. Each span is a complete event (``"ph": "X"``) whose ``ts`` and ``dur`` are microseconds and whose
        category is its task's kind.
    """
    events: list[dict[str, Any]] = []
    for process, (group, spans) in enumerate(groups.items(), 1):
        events.append(_named("process_name", group, process))
        events.append(_sorted("process_sort_index", process, process))
        for stream, own in lanes(spans).items():
            events.append(_named("thread_name", f"stream {stream}", process, stream))
            events.append(_sorted("thread_sort_index", stream, process, stream))
            events += [_complete(span, process) for span in own]
    return {"displayTimeUnit": "ms", "traceEvents": events}


def _named(what: str, name: str, process: int, thread: int = 0) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": process, "tid": thread, "args": {"name": name}}


def _sorted(what: str, index: int, process: int, thread: int = 0) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": process, "tid": thread, "args": {"sort_index": index}}


def _complete(span: Span, process: int) -> dict[str, Any]:
    event: dict[str, Any] = {
        "ph": "X", "name": span.task, "cat": kind(span.task), "pid": process, "tid": span.stream,
        "ts": 1e6 * span.start, "dur": 1e6 * (span.end - span.start),
    }  # fmt: skip
    colour = TRACE_COLOURS.get(kind(span.task))
    return event if colour is None else event | {"cname": colour}
