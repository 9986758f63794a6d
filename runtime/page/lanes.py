"""Program -> when each task of a step would run, on one, two and four streams."""

from typing import Any

from compiler import UpdateProgram
from compiler.planning import task_seconds
from compiler.roofline import roofline
from compiler.simulation import critical_path, makespan, simulate
from compiler.timeline import kind
from runtime.timeline import KINDS, SAME

STREAMS = (1, 2, 4)
DIGITS = 9  # behind the decimal point of seconds


def lanes(program: UpdateProgram) -> dict[str, Any]:
    """Tasks with their predicted seconds and what they wait for, and for each number of streams who runs what from when on.

    The seconds are the cost model's of the device that the program computes on, here and now.
    """
    lowered = program.lowered
    cost = roofline(lowered.device, 1)
    tasks, seconds = lowered.tasks, task_seconds(lowered, cost)
    number = {task.name: place for place, task in enumerate(tasks.tasks)}
    return {
        "device": cost.device,
        "tasks": [
            {
                "name": name,
                "kind": _shown(name),
                "seconds": round(seconds[name], DIGITS),
                "waits": [number[other] for other in tasks.dependences[name]],
            }
            for name in number
        ],
        "critical": [number[name] for name in critical_path(tasks, seconds)],
        "streams": {
            streams: _spans(program, streams, seconds, cost.wait, number) for streams in STREAMS
        },
    }  # fmt: skip


def _spans(program: UpdateProgram, streams: int, seconds: dict[str, float], wait: float, number: dict[str, int]) -> dict[str, Any]:
    spans = simulate(program.lowered.tasks, program.schedule(streams), seconds, wait)
    return {
        "seconds": round(makespan(spans), DIGITS),
        "spans": [[number[span.task], span.stream, round(span.start, DIGITS)] for span in spans],
    }


def _shown(task: str) -> str:
    """The kind that a task is coloured as."""
    own = SAME.get(kind(task), kind(task))
    return own if own in KINDS else "other"
