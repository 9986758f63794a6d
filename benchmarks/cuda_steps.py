"""What only a GPU has: its own clock, backpropagation in a CUDA graph, and memory by the allocator's count."""

import copy
import functools
import gc
from collections.abc import Callable
from typing import Any

import torch
from contenders import Batch, Contender, forget, loss
from torch import Tensor, nn

GRAPHED = "BP in a CUDA graph"


def cuda_clock(contender: Contender, repeats: int) -> float:
    """Seconds a step by events in front of and behind ``repeats`` of them, with one wait for the device at the end.

    Gradients are cleared in between as any training loop does; the host may run ahead.
    """
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    contender.clear()
    torch.cuda.synchronize()
    start.record()
    for _ in range(repeats):
        contender.clear()
        contender.step()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end)) / 1e3 / repeats


def graphed(model: nn.Module, batch: Batch, name: str = GRAPHED, **more: Any) -> Contender:
    """Forward, loss and backward of plain backpropagation captured whole at the first step and replayed; ``.grad`` is static."""
    model = copy.deepcopy(model)

    @functools.cache
    def whole() -> GraphedStep:
        return GraphedStep(model, batch)

    return Contender(name, lambda: whole().replay(batch.x, batch.y), lambda: None, **more)


class GraphedStep:
    """A backpropagation step in a CUDA graph: warmed up and captured on one side stream, as torch's notes on CUDA graphs say."""

    def __init__(self, model: nn.Module, batch: Batch) -> None:
        self.x, self.y = batch.x.clone(), batch.y.clone()
        self.graph, clear = torch.cuda.CUDAGraph(), forget(list(model.parameters()))
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                clear()
                loss(model, self.x, self.y, batch.autocast).backward()  # type: ignore[no-untyped-call]
        torch.cuda.current_stream().wait_stream(stream)
        clear()  # so that the capture makes gradients in the graph's memory
        torch.cuda.synchronize()
        torch._C._cuda_clearCublasWorkspaces()  # likewise cuBLAS's workspaces, as runtime/executors/graph.py explains
        main = torch.cuda.current_stream()
        try:
            with torch.cuda.graph(self.graph, stream=stream):
                self.loss = loss(model, self.x, self.y, batch.autocast)
                self.loss.backward()  # type: ignore[no-untyped-call]
        finally:
            torch.cuda.set_stream(main)  # a capture that fails leaves its own
            torch._C._cuda_clearCublasWorkspaces()

    def replay(self, x: Tensor, y: Tensor) -> None:
        """Take in a batch and run the step."""
        self.x.copy_(x, non_blocking=True)
        self.y.copy_(y, non_blocking=True)
        self.graph.replay()


def peak_bytes(make: Callable[[], Contender], steps: int = 2) -> int:
    """The most bytes that a contender's steps hold at a time beyond its parameters and its batch, as the allocator counts them.

    The first step is in it, and so are captures (a replayed graph allocates nothing, it owns what its capture took) and cuBLAS's
    workspaces, some ten megabytes a stream. Other contenders should be gone.
    """
    gc.collect()
    torch.cuda.synchronize()
    torch._C._cuda_clearCublasWorkspaces()
    torch.cuda.empty_cache()
    contender = make()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    for _ in range(steps):
        contender.clear()
        contender.step()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before
