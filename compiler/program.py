"""The update program: a model and a wiring, compiled; traced again and kept for every shape that it meets."""

import copy
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn

from compiler.capture import Output
from compiler.errorgraph import ErrorParameter
from compiler.errors import CompileError, ScheduleError
from compiler.example import Inputs, Signature, signature
from compiler.explain import explain
from compiler.fitting import check_inputs, check_labels, check_sums, check_synapses
from compiler.formats import MemoryLayout
from compiler.lowered import Halves, Lowered
from compiler.outside import Outside
from compiler.pipeline import Source, plan, trace, trace_halves
from compiler.plan import Plan
from compiler.planning import scheduled
from compiler.report import Report, ScalingReport
from compiler.reporting import backpropagation, report
from compiler.roofline import Roofline, roofline
from compiler.scaling import PROCESSES, scaling
from compiler.schedule import MOST_STREAMS, Schedule
from compiler.signal import Loss
from compiler.starts import start
from compiler.structure import Structure
from compiler.verify import verify as verify_tasks
from compiler.world import World
from wiring import Wiring


class UpdateProgram:
    """What ``compile`` returns: ``step`` gives the traced step for a batch, ``report`` and ``explain`` say what it does.

    ``plan`` and ``lowered`` belong to the example, in the mode (training or evaluation) that the model had then.
    """

    def __init__(self, source: Source, inputs: Inputs, labels: Any) -> None:
        self.source = source
        self.inputs, self.labels = inputs, labels
        self._modules = list(source.model.modules())
        self.structure = Structure(source.model)
        self._steps: dict[tuple[Signature, bool], Lowered] = {}
        self._halves: dict[Signature, Halves] = {}
        self.plan: Plan = plan(source, inputs, labels)
        self._example = signature(inputs, labels, self._modules)
        self._unlabelled = signature(inputs, None, self._modules)
        self._backpropagation: UpdateProgram | None = None
        self._report: Report | None = None

    @property
    def model(self) -> nn.Module:
        """The module that was compiled, itself."""
        return self.source.model

    @property
    def wiring(self) -> Wiring:
        """What it was compiled with."""
        return self.source.wiring

    @property
    def lowered(self) -> Lowered:
        """The example's step, traced when it is first asked for: an attached model never does."""
        return self._of_example(probe=False)

    @property
    def error_parameters(self) -> dict[str, ErrorParameter]:
        """Every error parameter by name."""
        return self.plan.errors.parameters

    def start(self, seed: int = 0) -> dict[str, Tensor]:
        """First values of every error parameter, the same for the same seed on every machine."""
        device = self.inputs.device()
        return {name: value.to(device) for name, value in start(self.error_parameters, self.model, seed).items()}

    def taken(self, x: Any) -> Inputs:
        """A batch's inputs in the form of the example's, whatever the order of keywords.

        Raises:
            InputError: other arguments than the example's.
        """
        return Inputs.of(x).in_form_of(self.inputs, self.model.forward)

    def step(self, x: Any, y: Any, probe: bool = False) -> Lowered:
        """The traced step for a batch, from the cache or compiled once more. ``probe`` keeps every site's credit.

        Raises:
            InputError, LabelError: other dtypes or ranks than the example's.
            EdgeError: the new shape asks for error parameters of other shapes.
        """
        inputs = self.taken(x)
        key = signature(inputs, y, self._modules), probe
        known = self._steps.get(key)
        if known is None and key[0] == self._example:
            known = self._of_example(probe)
        if known is None:
            check_inputs(self.inputs, inputs)
            check_labels(self.labels, y)
            planned = plan(self.source, inputs, y, sure=True)
            check_synapses(self.error_parameters, planned.errors.parameters)
            known = self._steps[key] = trace(self.source, planned, inputs, y, probe)
            check_sums(self.lowered.layout.sums, known.layout.sums)
        return known

    def halves(self, x: Any) -> Halves:
        """The step for a batch whose loss is computed outside, cut at the output; from the cache or compiled once more.

        Raises:
            InputError: other dtypes or ranks than the example's.
            EdgeError: the new shape asks for error parameters of other shapes.
        """
        inputs = self.taken(x)
        key = signature(inputs, None, self._modules)
        known = self._halves.get(key)
        if known is None:
            check_inputs(self.inputs, inputs)
            source = dataclasses.replace(self.source, loss=Outside(), world=None)
            if key == self._unlabelled and isinstance(self.source.loss, Outside):
                planned = self.plan
            else:
                planned = plan(source, inputs, None, sure=True)
                check_synapses(self.error_parameters, planned.errors.parameters)
            known = self._halves[key] = trace_halves(source, planned, inputs)
        return known

    def at_precision(self, autocast: torch.dtype | None) -> "UpdateProgram":
        """The same program under another mixed precision, or under none."""
        return UpdateProgram(dataclasses.replace(self.source, autocast=autocast), self.inputs, self.labels)

    def probed(self) -> Lowered:
        """The example's step with every site's credit among its results."""
        return self._of_example(probe=True)

    def _of_example(self, probe: bool) -> Lowered:
        key = self._example, probe
        if key not in self._steps:
            self._steps[key] = trace(self.source, self.plan, self.inputs, self.labels, probe)
        return self._steps[key]

    def __deepcopy__(self, memo: dict[int, Any]) -> "UpdateProgram":
        """The same program over a copy of the model: what was traced holds no values of the model's, so it is shared."""
        twin = object.__new__(type(self))
        memo[id(self)] = twin
        twin.__dict__.update(self.__dict__)
        twin.source = dataclasses.replace(self.source, model=copy.deepcopy(self.source.model, memo))
        twin._modules = list(twin.source.model.modules())
        twin.structure = Structure(twin.source.model)
        twin._steps, twin._halves = dict(self._steps), dict(self._halves)
        twin._backpropagation = None  # it holds the model
        return twin

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickle holds what the program is compiled from, and compiles again where it is loaded, in the modes that the modules have."""
        return type(self), (self.source, self.inputs, self.labels)

    def backpropagation(self) -> "UpdateProgram":
        """The backpropagation program of the same model over the same sites."""
        if self._backpropagation is None:
            source = dataclasses.replace(self.source, wiring=backpropagation(self))
            self._backpropagation = UpdateProgram(source, self.inputs, self.labels)
        return self._backpropagation

    def report(self) -> Report:
        """What the program does: sites, edges, locking, weight transport, FLOPs and activation bytes against backpropagation."""
        if self._report is None:
            self._report = report(self)
        return self._report

    def explain(self) -> str:
        """The report as text for people."""
        return explain(self.report())

    def scaling(self, processes: Sequence[int] = PROCESSES, cost: Roofline | None = None) -> ScalingReport:
        """How many samples a second several processes would learn from, each with the example's batch and a processor of its own.

        Arguments:
            cost: the cost model of a processor and of the network to the others; default: measured here, over loopback.

        Raises:
            CompileError: fewer than one process.
        """
        if any(count < 1 for count in processes):
            raise CompileError(f"A step cannot run on {min(processes)} processes. Ask for 1 or more.")
        return scaling(self.lowered, self.error_parameters, cost or roofline(self.lowered.device, 1), processes)

    def schedule(self, streams: int = 1, cost: Roofline | None = None) -> Schedule:
        """The example's step on ``streams`` streams, as the executors run it; verified.

        Arguments:
            streams: how many, 1 to 256. Those that no task is worth moving to have no actions.
            cost: the cost model of another device than the program's; default: measured here once and cached.

        Raises:
            ScheduleError: no whole number, fewer than one stream, or more than 256.
        """
        if type(streams) is not int:
            raise ScheduleError(f"streams={streams!r} is a {type(streams).__name__}. Give a whole number from 1 to {MOST_STREAMS}.")
        return scheduled(self.lowered, streams, cost)

    def draw(self, path: str | Path) -> Path:
        """Write the forward graph with its error wiring on top, as SVG, PNG or DOT by the path's suffix.

        Raises:
            DrawError: another suffix, or a folder that cannot be written.
        """
        from compiler.draw import draw  # matplotlib takes a third of a second to load

        return draw(self, path)


def verify(program: UpdateProgram, schedule: Schedule) -> None:
    """Prove that a schedule of a program's step computes what the step says, whatever the streams' speeds.

    Vector clocks over every read and write of every storage, frees, forks and joins, and the next step right behind this one.

    Raises:
        ScheduleError: naming the two accesses and the order that is missing; or no schedule was given.
    """
    if not isinstance(schedule, Schedule):
        raise ScheduleError(f"A {type(schedule).__name__} cannot be verified. Give a Schedule; Schedule.parse(text) reads one.")
    verify_tasks(program.lowered.tasks, schedule)


def compile(
    model: nn.Module,
    wiring: Wiring,
    example: tuple[Any, Any],
    loss: Loss = nn.functional.cross_entropy,
    *,
    output: Output = None,
    autocast: torch.dtype | None = None,
    layout: MemoryLayout = "preserve",
    world: World | None = None,
) -> UpdateProgram:
    """Compile a model and a wiring into an update program.

    Arguments:
        model: any module that torch.export captures, in the mode (training or evaluation) that its steps shall run in.
        wiring: the learning algorithm.
        example: ``(x, y)``, a batch: ``x`` a tensor, a tuple of arguments, a dict of keywords or ``Inputs``; ``y`` labels.
        loss: ``loss(output, y)`` -> one number, differentiable; a mean over the batch unless its ``reduction`` is ``"sum"``.
        output: which part of what the model returns the loss reads: an index, a key or field name, or a function.
        autocast: dtype of mixed precision, as ``torch.bfloat16``; default: the ambient ``torch.autocast``, or none.
        layout: memory format of the maps ``[N, C, H, W]`` and ``[N, C, D, H, W]`` inside the step. ``"preserve"`` keeps the one of
            the model and the batch, so that backpropagation equals eager autograd bit for bit, but where three or more gradients
            meet at one value or weight and are added in another order. ``"channels_last"`` computes them
            with channels innermost, in which convolutions and batch norms are faster (on CPUs, and on GPUs in half precision),
            whatever the format of the model and the batch: the same numbers up to rounding, since sums run in another order,
            and up to dropout on maps, which draws its mask in another order. Models and batches stay as they are.
        world: processes that learn this model together, each from its own shard of every batch: the program sums updates, loss and
            discrepancy over them. Each of them compiles the same model and wiring, with an example of its own shard.

    Raises:
        CompileError: one of its kinds, naming the thing, the reason and the way out; itself for an unknown ``layout``.
        InputError: an example without tensors or samples.
        LabelError: labels that the wiring's signal cannot use.
    """
    if layout not in get_args(MemoryLayout):
        known = " or ".join(map(repr, get_args(MemoryLayout)))
        raise CompileError(f"layout={layout!r} names no memory format that a step is computed in. Use {known}.")
    inputs = Inputs.of(example[0])
    device = inputs.device().type
    if autocast is None and torch.is_autocast_enabled(device):
        autocast = torch.get_autocast_dtype(device)
    program = UpdateProgram(Source(model, wiring, loss, output, autocast, layout, world), inputs, example[1])
    program.step(inputs, example[1])  # some errors are seen by tracing alone, and they belong here
    return program
