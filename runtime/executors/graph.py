"""A CUDA graph: the streams' schedule captured once for a step and replayed, one launch for all of it.

Parameters, buffers and synapses are read where they lie; the batch is copied into tensors of the graph's own. Results lie in the
graph's memory, and the next replay overwrites them: the learner copies what it must keep (``static``). Random operators draw
other numbers at every replay, since torch moves the generator's offset on.

cuBLAS keeps a workspace for every stream, and a captured product goes on using the one that it met. One that was made before the
capture could be given back under the graph (``torch.compile`` does so with graphs of its own), and graphs captured on one stream
would share it. So workspaces are let go of before a capture and behind it: each graph has its own, in its own memory.
"""

import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from compiler.lowered import Lowered
from compiler.planning import scheduled
from compiler.schedule import Schedule
from runtime.errors import BackendError, first_line
from runtime.executors.executor import Executor, Hooks, Run, no_hooks, one_process
from runtime.executors.included import Included
from runtime.executors.streams import needs_cuda, on_streams

WARM_UP = 3
WARMS_UP = "runs a step several times before it captures it"

After = Callable[[Sequence[Tensor]], None]
"""What is captured behind the step, with its results: taking over updates and an optimiser's step."""


class Graph(Executor):
    """``streams`` CUDA streams inside one CUDA graph."""

    name = "graph"
    static = True

    def __init__(self, streams: int = 4) -> None:
        super().__init__(streams)
        self._whole: weakref.WeakKeyDictionary[Lowered, tuple[Captured, list[object]]] = weakref.WeakKeyDictionary()
        self._begun: weakref.WeakSet[torch.optim.Optimizer] = weakref.WeakSet()

    def prepare(self, lowered: Lowered, schedule: Schedule | None = None, hooks: Hooks | None = None) -> Run:
        needs_cuda(self.name, lowered)
        no_hooks(self.name, hooks)
        one_process(self.name, lowered, WARMS_UP)
        step = on_streams(lowered, schedule or scheduled(lowered, self.streams))
        captured: Captured | None = None

        def run(inputs: Sequence[Tensor]) -> list[Tensor]:
            nonlocal captured
            if captured is None or not captured.fits(inputs):
                captured = None  # its memory first
                captured = Captured(lowered, step, inputs)
            return captured.replay(inputs)

        return run

    def whole(self, lowered: Lowered, inputs: Sequence[Tensor], after: After, included: Included) -> list[Tensor]:
        """A step with ``after`` behind it, both in one graph; captured when first seen, and when something has moved or another
        setting of the optimiser's been made.

        An optimiser's first step is taken outside of the graph: it makes its state, by rules that no later step repeats.
        """
        captured, marks = self._whole.get(lowered, (None, []))
        if captured is None or marks != included.marks() or not captured.fits(inputs):
            needs_cuda(self.name, lowered)
            one_process(self.name, lowered, WARMS_UP)
            self._whole.pop(lowered, None)
            del captured
            step = on_streams(lowered, scheduled(lowered, self.streams))
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="This instance was constructed with capturable=True")
                if included.optimizer not in self._begun:
                    self._begun.add(included.optimizer)
                    return _both(step, inputs, after)
                included.check_host()
                with included.unchanged():
                    captured = Captured(lowered, step, inputs, after)
            self._whole[lowered] = captured, included.marks()
        return captured.replay(inputs)


class Captured:
    """A step in a CUDA graph, bound to where the state lies; ``after`` is captured behind it."""

    def __init__(self, lowered: Lowered, step: Run, inputs: Sequence[Tensor], after: After | None = None) -> None:
        layout = lowered.layout
        self._state = len(layout.parameters) + len(layout.buffers) + len(layout.synapses)
        self._batch = [value.clone() for value in inputs[self._state :]]
        self._places = _places(inputs[: self._state])
        own = [*inputs[: self._state], *self._batch]
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(lowered.device):
            stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            random = torch.cuda.get_rng_state(lowered.device)
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARM_UP):
                    _both(step, own, after)
            torch.cuda.current_stream().wait_stream(stream)
            torch.cuda.set_rng_state(random, lowered.device)
            with _capturing(self._graph, stream):
                self.results = _both(step, own, after)

    def fits(self, inputs: Sequence[Tensor]) -> bool:
        """Whether parameters, buffers and synapses still lie where the graph reads them."""
        return _places(inputs[: self._state]) == self._places

    def replay(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Take in a batch and run the step."""
        for own, value in zip(self._batch, inputs[self._state :], strict=True):
            own.copy_(value, non_blocking=True)
        self._graph.replay()
        return list(self.results)


@contextmanager
def _capturing(graph: torch.cuda.CUDAGraph, stream: torch.cuda.Stream) -> Iterator[None]:
    """Work on ``stream`` goes into the graph.

    Only this thread is held to what a capture allows: one that pins memory for the next batches must be free to go on.

    Raises:
        BackendError: something in the step cannot be captured; the caller's stream is the current one again.
    """
    main = torch.cuda.current_stream()
    torch.cuda.synchronize()
    torch._C._cuda_clearCublasWorkspaces()
    try:
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as problem:
        first = problem.__context__ if isinstance(problem.__context__, RuntimeError) else problem
        raise BackendError(
            f"This step cannot be captured in a CUDA graph ({first_line(first)}). Use backend='streams' or 'serial'."
        ) from problem
    finally:
        torch.cuda.set_stream(main)
        torch._C._cuda_clearCublasWorkspaces()


def _both(step: Run, inputs: Sequence[Tensor], after: After | None) -> list[Tensor]:
    results = step(inputs)
    if after is not None:
        after(results)
    return results


def _places(tensors: Sequence[Tensor]) -> list[int]:
    return [tensor.data_ptr() for tensor in tensors]
