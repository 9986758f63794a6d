"""What would go wrong silently while torch.export looks at a model: refused by name, or kept quiet."""

import contextlib
import importlib
import io
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from compiler.errors import CaptureError


def refuse_cumulative_averages(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if (
            isinstance(module, nn.modules.batchnorm._NormBase)
            and module.momentum is None
            and module.training
            and module.track_running_stats
        ):
            raise CaptureError(
                f"Module {name!r} has momentum=None: it divides by the number of batches so far, which a captured step cannot count. "
                "Give it a number, as momentum=0.1."
            )


@contextmanager
def refuse_own_functions() -> Iterator[None]:
    """Export inlines an autograd.Function's forward and loses its backward: refuse it by name while exporting."""
    original = torch.autograd.Function.__dict__["apply"]

    def apply(cls: type, *args: Any, **kwargs: Any) -> Any:
        if cls.__name__ == "CheckpointFunction":
            raise CaptureError(
                "The model uses torch.utils.checkpoint with use_reentrant=True, whose backward torch.export loses. "
                "Pass use_reentrant=False, or drop it: a compiled step frees activations as its wiring allows."
            )
        if cls.__module__.startswith("torch."):
            return original.__get__(None, cls)(*args, **kwargs)
        raise CaptureError(
            f"The model uses its own autograd.Function {cls.__module__}.{cls.__qualname__}; torch.export keeps its forward and "
            "loses its backward, so the model would train with another gradient. Write it with differentiable operators, "
            "as x + (f(x) - x).detach() for a straight-through estimator."
        )

    torch.autograd.Function.apply = classmethod(apply)  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        torch.autograd.Function.apply = original  # type: ignore[method-assign]


@contextmanager
def refuse_no_grad_under_autocast() -> Iterator[None]:
    """Where the model's own autocast block meets its own no_grad block, export forgets the latter: refuse it."""
    enter = torch.no_grad.__enter__

    def checked(self: torch.no_grad) -> None:
        caller = str(sys._getframe(1).f_globals.get("__name__", ""))
        autocast = torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")
        if autocast and not caller.startswith("torch."):
            raise CaptureError(
                f"The model enters torch.no_grad() inside an autocast block ({caller}); torch.export would forget it and train through it. "
                "Use .detach() on the results, or autocast the whole model by compile(..., autocast=...)."
            )
        enter(self)

    torch.no_grad.__enter__ = checked  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.no_grad.__enter__ = enter  # type: ignore[method-assign]


def leave_no_folder() -> None:
    """Tracing imports a module of torch's inductor that makes an empty cache folder: have it made where it goes away again."""
    module, variable = "torch._inductor.compiler_bisector", "TORCHINDUCTOR_CACHE_DIR"
    if module in sys.modules or variable in os.environ:
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ[variable] = folder
        try:
            importlib.import_module(module)
        finally:
            os.environ.pop(variable, None)


@contextmanager
def quiet_export() -> Iterator[None]:
    """Export logs and prints whole graphs before it raises, where the error that becomes of it says it in a line.

    What the model itself prints while it is captured is handed on when the capture succeeds.
    """
    names = ("torch.fx.experimental.symbolic_shapes", "torch.export", "torch._export", "torch._subclasses.fake_tensor")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            yield
        sys.stdout.write(out.getvalue())
        sys.stderr.write(err.getvalue())
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def plain_dtypes() -> Iterator[None]:
    """No ambient autocast while exporting: the step is traced under it instead, where its casts are differentiated."""
    with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
        yield


@contextmanager
def one_batch_norm() -> Iterator[None]:
    """``SyncBatchNorm`` as the one operator that ``BatchNorm`` is, while a model is captured: the step makes its statistics joint."""
    original = nn.SyncBatchNorm.forward

    def forward(self: nn.SyncBatchNorm, x: torch.Tensor) -> torch.Tensor:
        self._check_input_dim(x)
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        kept = not self.training or self.track_running_stats
        mean, var = (self.running_mean, self.running_var) if kept else (None, None)
        momentum = 0.0 if self.momentum is None else self.momentum
        own = self.training or (mean is None and var is None)
        return torch.batch_norm(x, self.weight, self.bias, mean, var, own, momentum, self.eps, torch.backends.cudnn.enabled)

    nn.SyncBatchNorm.forward = forward  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        nn.SyncBatchNorm.forward = original  # type: ignore[method-assign]
