"""What is tried and taken back: numbers, gradients and generators as they were before."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def unchanged(learner: nn.Module) -> Iterator[None]:
    """Steps of a learner leave no trace: parameters, error synapses, every buffer (those that a state dict leaves out too), ``.grad``
    and torch's generators are put back, whether the steps end well or not. Modes, which no step changes, are not looked at.
    """
    tensors = [*learner.parameters(), *learner.buffers()]
    gradients = [(parameter, parameter.grad) for parameter in learner.parameters()]
    devices = {tensor.device for tensor in tensors if tensor.is_cuda}
    with put_back(gradient for _, gradient in gradients if gradient is not None):
        try:
            with torch.random.fork_rng(devices), put_back(tensors):
                yield
        finally:
            for parameter, gradient in gradients:
                parameter.grad = gradient


@contextmanager
def put_back(tensors: Iterable[Tensor]) -> Iterator[None]:
    """Every tensor's numbers are copied back into its place afterwards."""
    before = [(tensor, tensor.detach().clone()) for tensor in tensors]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in before:
                tensor.copy_(value)
