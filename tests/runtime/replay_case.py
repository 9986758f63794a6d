"""A CUDA graph on a CPU: capture notes every operator, replay runs them again into the same memory."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
import torch.utils._pytree as pytree
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class Noting(TorchDispatchMode):
    """Notes operators with their arguments and results; everything stays alive, as in a graph's memory."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func is not torch.ops.aten._local_scalar_dense.default, "a capture waits for nothing"
        result = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, result))
        return result


class Graph:
    """In place of ``torch.cuda.CUDAGraph``."""

    def __init__(self) -> None:
        self.noting = Noting()
        self.replays = 0

    def replay(self) -> None:
        self.replays += 1
        with torch.no_grad():
            for func, args, kwargs, result in self.noting.calls:
                given = {id(leaf) for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
                again = pytree.tree_leaves(func(*args, **kwargs))
                for old, new in zip(pytree.tree_leaves(result), again, strict=True):
                    if isinstance(old, Tensor) and id(old) not in given and old.data_ptr() != new.data_ptr():
                        old.copy_(new)


class Stream:
    """In place of ``torch.cuda.Stream``."""

    def wait_stream(self, other: "Stream") -> None: ...

    def wait_event(self, event: "Event") -> None:
        assert event.recorded, "waited for before it was recorded"


class Event:
    """In place of ``torch.cuda.Event``."""

    def __init__(self) -> None:
        self.recorded = False

    def record(self, stream: Stream) -> None:
        self.recorded = True


class Device:
    """Where ``torch.cuda`` stands: the current stream, and the graphs that were captured."""

    def __init__(self) -> None:
        self.main = self.current = Stream()
        self.graphs: list[Graph] = []

    def use(self, stream: Stream) -> None:
        self.current = stream

    @contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        before, self.current = self.current, stream
        yield
        self.current = before

    @contextmanager
    def graph(self, graph: Graph, stream: Stream, capture_error_mode: str) -> Iterator[None]:
        random = torch.get_rng_state()
        with self.stream(stream), graph.noting:
            yield
        torch.set_rng_state(random)  # a capture runs nothing, and so draws nothing
        self.graphs.append(graph)


def pretend(patch: pytest.MonkeyPatch) -> Device:
    """Let the executors for CUDA run on the CPU."""
    device = Device()
    stands_in = {
        "Stream": Stream, "Event": Event, "CUDAGraph": Graph, "device": lambda _: nullcontext(), "synchronize": lambda: None,
        "current_stream": lambda _=None: device.current, "set_stream": device.use, "stream": device.stream, "graph": device.graph,
        "get_rng_state": lambda _: torch.get_rng_state(), "set_rng_state": lambda state, _: torch.set_rng_state(state),
    }  # fmt: skip
    for name, value in stands_in.items():
        patch.setattr(torch.cuda, name, value)
    patch.setattr(torch._C, "_cuda_clearCublasWorkspaces", lambda: None, raising=False)
    patch.setattr("runtime.executors.streams.needs_cuda", lambda name, lowered: None)
    patch.setattr("runtime.executors.graph.needs_cuda", lambda name, lowered: None)
    return device
