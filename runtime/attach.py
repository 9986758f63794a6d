"""``attach``: a wiring behind an ordinary module. ``loss.backward()`` fills ``.grad`` by the wiring, whatever loop is around it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from compiler import Inputs, UpdateProgram
from compiler.capture import Output, pick
from compiler.formats import MemoryLayout
from compiler.lowered import Halves
from compiler.outside import Outside, recovered_target
from compiler.pipeline import Source
from runtime.bound import Bound
from runtime.errors import BackendError, TrainingError
from runtime.learner import take_over
from wiring import OUTPUT, Wiring

Scale = float | Callable[[], float]


class Attached(Bound):
    """A module whose backward pass is an update program; see ``attach``."""

    def __init__(self, program: UpdateProgram, backend: str, seed: int, streams: int | None, loss_scale: Scale) -> None:
        super().__init__(program, backend, seed, streams)
        if self._execute.static:
            raise BackendError(
                f"Backend {backend!r} runs a step as one graph, and here the loss is computed in its middle. Use 'serial', 'threads' "
                "or 'streams', or runtime.Learner."
            )
        self.loss_scale = loss_scale
        self._programs: dict[torch.dtype | None, UpdateProgram] = {program.source.autocast: program}
        self._signals = {rule.signal for site, rule in program.plan.errors.rules.items() if site != OUTPUT}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the model returns: of several values the one that ``output`` picks.

        Raises:
            InputError, EdgeError: a batch that the program cannot take.
            TrainingError: an input that wants a gradient, which a wiring does not compute.
        """
        inputs = Inputs(args, kwargs)
        if not torch.is_grad_enabled():
            return pick(self.model(*args, **kwargs), self.program.source.output)
        if any(tensor.requires_grad for tensor in inputs.tensors()):
            raise TrainingError(
                "An input of the attached model requires a gradient, and a wiring sends none to inputs. Detach it, attach the whole model, "
                "or call it under torch.no_grad()."
            )
        program = self._program()
        halves = program.halves(inputs)
        tensors = [*self.state_tensors(halves.layout), *inputs.tensors()]
        return _Step.apply(self, halves, len(tensors), *tensors, *self.taught(halves.layout))  # type: ignore[no-untyped-call]

    def run_ahead(self, halves: Halves, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The forward half: output, then what the backward half reads; new buffers are taken over."""
        with _own_precision(tensors[0].device):
            results = self._execute(halves.forward, [tensors[place] for place in halves.ahead])
        new = len(halves.layout.new_buffers)
        take_over(self.buffers_of(halves.layout), results[1 : 1 + new])
        return [results[0], *results[1 + new :]]

    def run_behind(self, halves: Halves, inputs: Sequence[Tensor], saved: Sequence[Tensor], v: Tensor, g: Tensor) -> list[Tensor]:
        """The backward half: updates of what the layout teaches, in its order, in the scale of the loss."""
        target = recovered_target(g, v) if "target" in self._signals else g
        scale = float(self.loss_scale() if callable(self.loss_scale) else self.loss_scale)
        error = g if scale == 1.0 else g / scale
        with _own_precision(g.device):
            updates = self._execute(halves.backward, [*inputs, *saved, error, target.to(g.dtype)])
        return updates if scale == 1.0 else [update * scale for update in updates]

    def _program(self) -> UpdateProgram:
        """The one for the precision that is in force here."""
        device = self.program.inputs.device().type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        if dtype not in self._programs:
            self._programs[dtype] = self.program.at_precision(dtype)
        return self._programs[dtype]


class _Step(torch.autograd.Function):
    """One step around a loss outside: the parameters that it teaches are inputs, so that their gradients go autograd's way."""

    @staticmethod
    def forward(ctx: Any, attached: Attached, halves: Halves, count: int, *tensors: Tensor) -> Tensor:
        output, *saved = attached.run_ahead(halves, tensors[:count])
        ctx.attached, ctx.halves, ctx.count = attached, halves, count
        buffers = range(len(halves.layout.parameters), len(halves.layout.parameters) + len(halves.layout.buffers))
        ctx.buffers = {
            place: tensors[place] for place in halves.behind if place in buffers
        }  # renewed by the forward half, not read
        ctx.kept = [place for place in halves.behind if place not in ctx.buffers]
        ctx.save_for_backward(output, *(tensors[place] for place in ctx.kept), *saved)
        ctx.set_materialize_grads(True)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        output, *tensors = ctx.saved_tensors
        own = ctx.buffers | dict(zip(ctx.kept, tensors, strict=False))
        inputs = [own[place] for place in ctx.halves.behind]
        updates = ctx.attached.run_behind(ctx.halves, inputs, tensors[len(ctx.kept) :], output, gradients[0])
        return (None, None, None, *(None for _ in range(ctx.count)), *updates)


@contextmanager
def _own_precision(device: torch.device) -> Iterator[None]:
    """Without the loop's autocast: casts are part of the program."""
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        yield


def attach(
    model: nn.Module,
    wiring: Wiring,
    example: Any,
    *,
    output: Output = None,
    backend: str = "serial",
    seed: int = 0,
    streams: int | None = None,
    layout: MemoryLayout = "preserve",
    loss_scale: Scale = 1.0,
) -> Attached:
    """A module like ``model`` whose ``.grad`` after ``loss.backward()`` is the wiring's update instead of autograd's gradient.

    Any loop and any loss of the output will do. ``parameters()`` holds the model's and the error synapses', learned ones with
    ``.grad`` as well. Under ``torch.no_grad()`` the model itself runs. The error at the output is ``N`` times the gradient that arrives
    there, that of one sample under a loss that is a mean over the batch. The signal ``target`` is recovered from its signs.

    Arguments:
        example: the model's inputs for one batch: a tensor, a tuple of arguments, a dict of keywords. Other shapes compile anew.
        output: which part of what the model returns the loss reads, and the attached module returns.
        loss_scale: what the loss was multiplied by, or a function that tells, as ``scaler.get_scale`` under a ``GradScaler``, 1 / k where
            k batches are accumulated, N where the loss is a sum. Rules that are linear in the error (``bp``, ``fa``, ``dfa``, ...) do not
            mind; targets and signs do.

    Raises:
        CompileError: one of its kinds: model and wiring do not go together.
        BackendError: the backend cannot stop in the middle of a step.
    """
    inputs = Inputs.of(example)
    handed = _like_output(model, inputs, output)
    program = UpdateProgram(Source(model, wiring, Outside(), output, None, layout), inputs, (handed, handed.clone()))
    return Attached(program, backend, seed, streams, loss_scale)


def _like_output(model: nn.Module, inputs: Inputs, output: Output) -> Tensor:
    """Zeros like the model's output; no buffer and no generator is touched."""
    modes = {module: module.training for module in model.modules()}
    device = inputs.device()
    try:
        model.eval()
        with torch.no_grad(), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            found = pick(model(*inputs.args, **inputs.keywords()), output)
    finally:
        for module, training in modes.items():
            module.training = training
    return torch.zeros_like(found) if isinstance(found, Tensor) else torch.zeros(())
