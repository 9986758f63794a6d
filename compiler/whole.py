"""Activations that torch would take apart while a model is captured."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch._refs.nn.functional  # registers the kernels that are set aside below, which a later import would bring back
from torch._C import DispatchKey

WHOLE = (torch.ops.aten.softshrink.default, torch.ops.aten.hardshrink.default)


@contextmanager
def whole_activations() -> Iterator[None]:
    """Softshrink and Hardshrink as one operator each: torch's Python kernels spell them with ``abs``, ``sign`` and ``where``."""
    kernels = {operator: operator.py_kernels.pop(DispatchKey.Autograd, None) for operator in WHOLE}
    try:
        for operator in WHOLE:
            operator._dispatch_cache.clear()
        yield
    finally:
        for operator, kernel in kernels.items():
            if kernel is not None:
                operator.py_kernels[DispatchKey.Autograd] = kernel
            operator._dispatch_cache.clear()
