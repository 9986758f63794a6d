"""A lowered step -> a schedule of it that is proven: cost model, list scheduling, verification."""

from compiler.lowered import Lowered
from compiler.network import ALONE, Transfers, blocking_seconds, transfers
from compiler.report import ScheduleReport
from compiler.roofline import Roofline, roofline
from compiler.schedule import Schedule
from compiler.scheduling import schedule
from compiler.simulation import critical_path, makespan, simulate, width
from compiler.verify import verify

STREAMS = (1, 2, 4, 8)
"""Numbers of streams that a report predicts for."""


def scheduled(lowered: Lowered, streams: int, cost: Roofline | None = None) -> Schedule:
    """The step's tasks on ``streams`` streams, verified.

    Arguments:
        cost: the device's cost model; default: that of the device that the step runs on (with one thread an operator where
            there are several streams on a CPU), measured once and cached. One stream needs none.

    Raises:
        ScheduleError: fewer than one stream, or a fault of the scheduler that verification found.
    """
    if streams == 1:
        found = schedule(lowered.tasks, dict.fromkeys(lowered.tasks.by_name, 0.0), 1)
    else:
        cost = cost or roofline(lowered.device, 1)
        found = schedule(lowered.tasks, task_seconds(lowered, cost), streams, cost.wait, on_the_way(lowered, cost))
    verify(lowered.tasks, found)
    return found


def task_seconds(lowered: Lowered, cost: Roofline) -> dict[str, float]:
    """What each task should take, collectives that it waits for itself included."""
    seconds = {task.name: cost.task_seconds(task.nodes) for task in lowered.tasks.tasks}
    if lowered.world is None:
        return seconds
    blocking = blocking_seconds(lowered.tasks, cost.network, lowered.world.size)
    return {name: seconds[name] + blocking[name] for name in seconds}


def on_the_way(lowered: Lowered, cost: Roofline) -> Transfers:
    """The collectives that run beside the step's tasks."""
    return ALONE if lowered.world is None else transfers(lowered.tasks, cost.network, lowered.world.size)


def predicted(lowered: Lowered, cost: Roofline | None = None) -> ScheduleReport:
    """What the cost model says of a step on 1, 2, 4 and 8 streams.

    Arguments:
        cost: of the device; default: as for ``scheduled``.
    """
    cost = cost or roofline(lowered.device, 1)
    graph, seconds, beside = lowered.tasks, task_seconds(lowered, cost), on_the_way(lowered, cost)
    path = critical_path(graph, seconds)
    return ScheduleReport(
        device=cost.device,
        tasks=len(graph.tasks),
        work_seconds=sum(seconds.values()),
        critical_path=path,
        critical_path_seconds=sum(seconds[name] for name in path),
        width=width(graph, seconds),
        predicted_seconds={
            streams: makespan(simulate(graph, schedule(graph, seconds, streams, cost.wait, beside), seconds, cost.wait, beside))
            for streams in STREAMS
        },
    )
