"""Executors by name."""

from compiler.schedule import MOST_STREAMS
from runtime.errors import BackendError
from runtime.executors.auto import Auto
from runtime.executors.executor import Executor
from runtime.executors.graph import Graph
from runtime.executors.inductor import Inductor
from runtime.executors.serial import Serial
from runtime.executors.streams import Streams
from runtime.executors.threads import Threads

EXECUTORS: dict[str, type[Executor]] = {cls.name: cls for cls in (Serial, Threads, Streams, Graph, Inductor, Auto)}


def executor(name: str, streams: int | None = None) -> Executor:
    """The executor of that name.

    Raises:
        BackendError: there is none, or it cannot use so many streams.
    """
    if name not in EXECUTORS:
        raise BackendError(f"No backend is called {name!r}. Backends: {', '.join(EXECUTORS)}.")
    if streams is not None and not 1 <= streams <= MOST_STREAMS:
        raise BackendError(f"A program cannot run on {streams} streams. Ask for 1 to {MOST_STREAMS}, or leave streams out.")
    return EXECUTORS[name]() if streams is None else EXECUTORS[name](streams)
