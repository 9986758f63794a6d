"""``attach``: a wiring behind an ordinary module. ``loss.backward()`` fills ``.grad`` by the wiring, whatever loop is around it."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor, nn

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
        if self._execute.static or (backend == "auto" and program.inputs.device().type == "cuda"):  # which may take a graph
            raise BackendError(
                f"Backend {backend!r} runs a step as one graph, and here the loss is computed in its middle. Use 'serial', 'threads' "
                "or 'streams', or runtime.Learner."
            )
        self.loss_scale = loss_scale
        self._programs: dict[torch.dtype | None, UpdateProgram] = {program.source.autocast: program}
        self.sends_target = any(rule.signal == "target" for site, rule in program.plan.errors.rules.items() if site != OUTPUT)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the model returns: of several values the one that ``output`` picks.

        Raises:
            InputError, EdgeError: a batch that the program cannot take.
            TrainingError: an input that wants a gradient, which a wiring does not compute; a transform of torch.func around the model;
                modules or hooks that have come or gone since the model was attached.
        """
        if not torch.is_grad_enabled() or torch.compiler.is_exporting() or torch._C._is_tracing():
            return self._infer(args, kwargs)
        if torch._C._functorch.peek_interpreter_stack() is not None:
            raise TrainingError(
                "torch.func differentiates or maps the attached model, but a wiring's update is no derivative of it. Call loss.backward(), or "
                "hand the plain model, attached.model, to torch.func."
            )
        self.check_structure()
        if not any(parameter.requires_grad for parameter in self._parameters_now()):
            return self._infer(args, kwargs)
        inputs = self.program.taken(Inputs(args, kwargs))
        data = inputs.tensors()
        if any(tensor.requires_grad for tensor in data):
            raise TrainingError(
                "An input of the attached model requires a gradient, and a wiring sends none to inputs. Detach it, attach the whole model, "
                "or call it under torch.no_grad()."
            )
        halves = self._program(inputs.device().type).halves(inputs)
        tensors = self.state_tensors(halves.layout) + data
        return _Step.apply(self, halves, tensors, *self.taught(halves.layout))  # type: ignore[no-untyped-call]

    def run_ahead(self, halves: Halves, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The forward half: output, then what the backward half reads; new buffers are taken over."""
        results = self._execute(halves.forward, [tensors[place] for place in halves.ahead])
        new = len(halves.layout.new_buffers)
        if new:
            take_over(self.buffers_of(halves.layout), results[1 : 1 + new])
            del results[1 : 1 + new]
        return results

    def run_behind(self, halves: Halves, inputs: Sequence[Tensor], v: Tensor | None, g: Tensor) -> list[Tensor]:
        """The backward half: updates of what the layout teaches, in its order, in the scale of the loss. ``v``: where a target is sent."""
        target = g if v is None else recovered_target(g, v).to(halves.target_dtype)
        scale = float(self.loss_scale() if callable(self.loss_scale) else self.loss_scale)
        error = g if scale == 1.0 else g / scale
        updates = self._execute(halves.backward, [*inputs, error, target])
        return updates if scale == 1.0 else [update * scale for update in updates]

    def _parameters_now(self) -> Iterator[Tensor]:
        """The model's parameters, those that are still where they were."""
        return (held[key] for held, key in self._parameters_at.values() if key in held)

    def _infer(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The model itself."""
        return pick(self.model(*args, **kwargs), self.program.source.output)

    def _apply(self, fn: Any, recurse: bool = True) -> "Attached":
        """What ``to``, ``double``, ``cuda`` and their like call: moved elsewhere, the step is compiled for where the model is then."""
        before = self._kinds()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self._kinds() != before:
            args, kwargs, labels = pytree.tree_map_only(
                Tensor, fn, (self.program.inputs.args, self.program.inputs.keywords(), self.program.labels)
            )
            self.program = UpdateProgram(self.program.source, Inputs(args, kwargs), labels)
            self._programs = {self.program.source.autocast: self.program}
        return self

    def _kinds(self) -> list[tuple[torch.dtype, torch.device]]:
        return [(value.dtype, value.device) for value in self._parameters_now()]

    def _replicate_for_data_parallel(self) -> Any:
        raise TrainingError(
            "nn.DataParallel runs copies of a module that hold no parameters, and the update program has nothing to read there. Use "
            "nn.parallel.DistributedDataParallel, one process a device."
        )

    def _program(self, device: str) -> UpdateProgram:
        """The one for the precision that is in force here."""
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        if dtype not in self._programs:
            self._programs[dtype] = self.program.at_precision(dtype)
        return self._programs[dtype]


class _Step(torch.autograd.Function):
    """One step around a loss outside: the parameters that it teaches are inputs, so that their gradients go autograd's way.

    All else is handed over in a list, which costs autograd nothing."""

    @staticmethod
    def forward(ctx: Any, attached: Attached, halves: Halves, tensors: list[Tensor], *taught: Tensor) -> Tensor:
        renewed = halves.renewed
        kept = [tensors[place].clone() if place in renewed else tensors[place] for place in halves.behind]
        output, *saved = attached.run_ahead(halves, tensors)
        ctx.attached, ctx.halves = attached, halves
        ctx.save_for_backward(*kept, *saved, *([output] if attached.sends_target else []))
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise TrainingError(
                "backward(create_graph=True) asks for the derivative of an update, and a wiring's update is not the derivative of the loss, "
                "so it has none of its own. Leave create_graph out, or take second derivatives through the plain model."
            )
        if torch._C._functorch.is_legacy_batchedtensor(gradients[0]):
            raise TrainingError(
                "is_grads_batched=True maps a backward pass over several gradients at once, and an update program takes one. Call "
                "torch.autograd.grad for each of them."
            )
        saved = list(ctx.saved_tensors)
        v = saved.pop() if ctx.attached.sends_target else None
        updates = ctx.attached.run_behind(ctx.halves, saved, v, gradients[0])
        return (None, None, None, *updates)


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
    program.halves(inputs)
    return Attached(program, backend, seed, streams, loss_scale)


def _like_output(model: nn.Module, inputs: Inputs, output: Output) -> Tensor:
    """Zeros like the model's output; no buffer and no generator is touched."""
    device, buffers = inputs.device(), {name: value.clone() for name, value in model.named_buffers()}
    with torch.no_grad(), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        found = pick(torch.func.functional_call(model, buffers, inputs.args, inputs.keywords()), output)
    return torch.zeros_like(found) if isinstance(found, Tensor) else torch.zeros(())
