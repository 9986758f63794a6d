"""From a model and a wiring to a plan and a traced step: the passes in order."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor, nn

from compiler.batch import check_batch_axes
from compiler.capture import Capture, Output, capture
from compiler.credit import check_credit
from compiler.dataflow import Dataflow, analyse
from compiler.errorgraph import ErrorGraph
from compiler.errors import CreditError, InputError, LabelError, LossError, OutputError, SiteError, WiringWarning
from compiler.example import Inputs
from compiler.formats import MemoryLayout, like
from compiler.lower import Tensors, lower, lower_halves
from compiler.lowered import Halves, Layout, Lowered
from compiler.partition import phi_parameters
from compiler.plan import Plan
from compiler.planning import scheduled
from compiler.resolve import resolve
from compiler.signal import Loss, called, error_scale, loss_name
from compiler.sites import SATURATING
from compiler.statistics import check_statistics, joint_norms
from compiler.world import World
from wiring import OUTPUT, Wiring
from wiring.match import fits_any


@dataclass(frozen=True)
class Source:
    """What a program is compiled from, whatever the shapes."""

    model: nn.Module
    wiring: Wiring
    loss: Loss
    output: Output
    autocast: torch.dtype | None
    layout: MemoryLayout = "preserve"
    world: World | None = None


def plan(source: Source, inputs: Inputs, labels: Any, sure: bool = False) -> Plan:
    """Everything before tracing: capture, sites, regions, error graph, and their checks. ``sure``: not the first shape.

    Raises:
        CompileError: one of its kinds, naming the thing, the reason and the way out.
    """
    if any(isinstance(leaf, Tensor) and leaf.dim() > 0 and leaf.shape[0] == 0 for leaf in inputs.leaves()):
        raise InputError("The batch is empty: it holds no sample to learn from. Pass at least one.")
    _check_loss(source.loss)
    captured = capture(source.model, inputs, source.output)
    flow = analyse(captured, trainable(source.model, source.wiring))
    batch = _batch(captured, labels)
    errors = resolve(captured, flow, source.wiring, batch)
    flow = errors.flow
    for site in errors.sites.values():
        check_credit(errors.rules[site.name].credit, site, source.wiring.name)
    _check_reach(source, captured, flow, errors)
    if not sure:
        check_batch_axes(source.model, source.output, inputs, errors)
    _warn(source.wiring, errors)
    joint = joint_norms(captured, source.model, source.world)
    if source.world is not None and not sure:
        check_statistics(captured, flow, joint)
    device = inputs.device()
    scale, context = error_scale(source.loss, batch), _context(source, device)
    return Plan(captured, flow, errors, source.wiring, source.loss, batch, scale, context, source.layout, source.world, joint)


def trace(source: Source, planned: Plan, inputs: Inputs, labels: Any, probe: bool) -> Lowered:
    """Trace one step of a plan.

    Raises:
        CreditError: a parameter that no credited site reaches.
        ScheduleError: the schedule of the step is not proven.
    """
    lowered = lower(planned, _tensors(source, planned, inputs), inputs, labels, probe)
    _check_reached(source, planned, lowered.layout)
    scheduled(lowered, 1)
    return lowered


def trace_halves(source: Source, planned: Plan, inputs: Inputs) -> Halves:
    """Trace one step of a plan whose loss is ``Outside``, and cut it at the output.

    Raises:
        CreditError: a parameter that no credited site reaches.
        ScheduleError: the schedule of a half is not proven.
    """
    output = planned.captured.output.meta["val"]
    gradient = torch.empty(output.shape, dtype=output.dtype, device=inputs.device())
    halves = lower_halves(planned, _tensors(source, planned, inputs), inputs, (gradient, gradient.clone()))
    _check_reached(source, planned, halves.layout)
    for half in (halves.forward, halves.backward):
        scheduled(half, 1)
    return halves


def _tensors(source: Source, planned: Plan, inputs: Inputs) -> Tensors:
    """What a step starts from, by name."""
    parameters = {
        name: value for name, value in source.model.named_parameters() if name in planned.dataflow.trainable or _read(planned, name)
    }
    buffers = dict(source.model.named_buffers())
    device, dtype = inputs.device(), next((p.dtype for p in parameters.values()), torch.float32)
    synapses = {name: torch.empty(p.shape, dtype=dtype, device=device) for name, p in planned.errors.parameters.items()}
    mirrors = {name: p.mirrors for name, p in planned.errors.parameters.items() if p.mirrors is not None}
    synapses |= {name: like(synapses[name], parameters[weight]) for name, weight in mirrors.items()}
    return Tensors(parameters, buffers, synapses)


def _check_reached(source: Source, planned: Plan, layout: Layout) -> None:
    missing = sorted(planned.dataflow.trainable - set(layout.gradients) - frozen_parameters(planned))
    if missing:
        raise _unreached(source.wiring, missing)
    for name, parameter in planned.errors.parameters.items():
        if parameter.learns and name not in layout.error_gradients:
            what = (
                f"error synapse {name!r}"
                if parameter.mirrors is None
                else f"{name!r}, the mirror of a weight that no site teaches,"
            )
            raise CreditError(
                f"Wiring {source.wiring.name!r} lets {what} learn by {parameter.plasticity.kind!r}, but no update reaches it. "
                "Give the rule whose errors pass it plasticity=Fixed(), or unfreeze the site behind it."
            )


def _check_loss(loss: Loss) -> None:
    module = called(loss)
    own = [name for name, p in module.named_parameters() if p.requires_grad] if isinstance(module, nn.Module) else []
    if own:
        raise LossError(
            f"Loss {loss_name(loss)!r} has parameters of its own ({', '.join(own)}), which no wiring credits. "
            "Move them into the model, or freeze them by requires_grad_(False)."
        )


def trainable(model: nn.Module, wiring: Wiring) -> list[str]:
    """Parameters that shall learn: those that require a gradient and that the wiring does not freeze by name.

    Raises:
        SiteError: a pattern of ``frozen`` names no parameter.
    """
    names = [name for name, parameter in model.named_parameters()]
    for pattern in wiring.frozen:
        if not any(fits_any(name, (pattern,)) for name in names):
            raise SiteError(
                f"Wiring {wiring.name!r} freezes {pattern!r}, which names no parameter. Parameters: {', '.join(names[:12])}, ..."
            )
    return [n for n, p in model.named_parameters() if p.requires_grad and not fits_any(n, wiring.frozen)]


def frozen_parameters(planned: Plan) -> set[str]:
    """Parameters that only frozen regions read."""
    parts, through = planned.errors.parts, planned.errors.parts.hearers
    frozen: set[str] = set()
    learning: set[str] = set()
    for region in parts.regions.values():
        own = region.site is not None and planned.errors.frozen(region.name)  # even where others read its head past the activation
        still = own or all(site != OUTPUT and planned.errors.frozen(site) for site in through[region.name])
        (frozen if still else learning).update(region.parameters)
        if region.site:
            (frozen if still else learning).update(phi_parameters(region.site, planned.captured, planned.dataflow))
    return frozen - learning


def _read(planned: Plan, name: str) -> bool:
    return any(planned.captured.parameter(node) == name for node in planned.captured.inputs)


def _batch(captured: Capture, labels: Any) -> int:
    value = captured.output.meta["val"]
    if not isinstance(value, Tensor) or value.dim() == 0 or not value.is_floating_point():
        raise OutputError(
            "The model's output is no floating-point tensor with a batch axis. Pass output=... to pick the logits [N, ...]."
        )
    for leaf in pytree.tree_leaves(labels):
        if isinstance(leaf, Tensor) and leaf.dim() > 0 and leaf.shape[0] % value.shape[0] and value.shape[0] % leaf.shape[0]:
            raise LabelError(
                f"Labels of shape {list(leaf.shape)} do not go with an output of shape {list(value.shape)}. Give one label a sample."
            )
    return int(value.shape[0])


def _context(source: Source, device: torch.device) -> Callable[[], Any]:
    """Autocast as asked, or none; the weight cache is off, since casts are part of the program."""
    enabled = source.autocast is not None
    return lambda: torch.autocast(device.type, dtype=source.autocast, enabled=enabled, cache_enabled=False)


def _check_reach(source: Source, captured: Capture, flow: Dataflow, errors: ErrorGraph) -> None:
    """A site that hears nobody credits nothing behind it, nor behind the junctions that it reads."""
    read = {captured.parameter(node) for node in captured.inputs if node.users}
    unused = sorted(flow.trainable - {name for name in read if name})
    if unused:
        raise _unreached(source.wiring, unused, "the forward pass to the loss does not read them")
    silent = [site for site in errors.sites if not errors.edges[site] and not errors.frozen(site)]
    for site in silent:
        behind = [n for r in errors.parts.regions.values() if site in errors.parts.hearers[r.name] for n in r.parameters]
        if behind:
            frozen = ", for frozen sites send no errors" if any(errors.frozen(other) for other in errors.sites) else ""
            raise _unreached(source.wiring, behind, f"site {site!r} in front of them hears nobody{frozen}")


def _unreached(wiring: Wiring, names: list[str], reason: str = "no error path reaches the region that reads them") -> CreditError:
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return CreditError(
        f"Wiring {wiring.name!r} credits no update to {shown}: {reason}. "
        f"Draw an edge into a site behind them, or freeze them by frozen=({names[0]!r}, ...) or requires_grad_(False)."
    )


def _warn(wiring: Wiring, errors: ErrorGraph) -> None:
    open_ended = [s for s in errors.sites.values() if errors.rules[s.name].signal == "target" and s.activation not in SATURATING]
    if open_ended:
        first, more = open_ended[0], f" and {len(open_ended) - 1} more" if len(open_ended) > 1 else ""
        warnings.warn(
            f"Wiring {wiring.name!r} sends targets to {first.name!r} ({first.activation}){more}: with activations that do not saturate learning does "
            "not stop (DRTP, section 4). Use tanh or sigmoid, or leave such sites out by Sites(exclude=...).",
            WiringWarning, stacklevel=4,
        )  # fmt: skip
