"""Program -> report."""

import glob
from typing import TYPE_CHECKING

from compiler.analysis import Reach
from compiler.cost import flops, peak_activation_bytes
from compiler.errorgraph import ErrorEdge
from compiler.planning import predicted
from compiler.report import EdgeReport, Locking, Report, SiteReport
from compiler.roofline import roofline
from compiler.scaling import PROCESSES, scaling
from compiler.sites import FLAT
from wiring import OUTPUT, Gradient, Mirror, Recursive, Sites, Wiring, bp

if TYPE_CHECKING:
    from compiler.program import UpdateProgram


def backpropagation(program: "UpdateProgram") -> Wiring:
    """Backpropagation over the very sites of a program, to compare it with; straight through activations without a derivative."""
    where, found = program.wiring.sites, program.plan.errors.sites
    sites = Sites(include=tuple(glob.escape(name) for name in found), modules=where.modules, blocks=where.blocks)
    plain = bp().rules[0]
    flat = [glob.escape(name) for name, site in found.items() if site.activation in FLAT]
    through = {"credit": Gradient(surrogate="straight_through")}
    rules = (*(plain.model_copy(update={"at": name, **through}) for name in flat), plain)
    return Wiring(name="bp", rules=rules, sites=sites, frozen=program.wiring.frozen)


def report(program: "UpdateProgram") -> Report:
    """Everything that can be said of a program without running it."""
    errors = program.plan.errors
    lowered, twin = program.lowered, program.backpropagation().lowered
    reach = Reach(program.probed())
    through = errors.parts.hearers
    several = {
        name
        for region in errors.parts.regions.values()
        if len(through[region.name]) > 1
        for name in region.parameters
    }  # fmt: skip
    learning = set(lowered.layout.gradients)
    parameters = dict(program.model.named_parameters())
    transported = sorted(reach.weight_transport())
    return Report(
        wiring=program.wiring.name,
        model=type(program.model).__name__,
        batch=program.plan.batch,
        sites=tuple(_site(program, name, reach) for name in errors.sites),
        forward_parameters=sum(parameters[name].numel() for name in parameters),
        error_parameters=sum(p.numel for p in errors.parameters.values()),
        weight_transport=tuple(transported),
        transported_scales=tuple(name for name in transported if parameters[name].dim() == 1),
        local_weight_transport=tuple(sorted(reach.local_weight_transport())),
        several_regions=tuple(sorted(several)),
        frozen=tuple(sorted(set(parameters) - learning)),
        flat=_flat(program),
        flops=flops(lowered.module.graph),
        bp_flops=flops(twin.module.graph),
        peak_activation_bytes=peak_activation_bytes(lowered.module.graph, lowered.tasks),
        bp_peak_activation_bytes=peak_activation_bytes(twin.module.graph, twin.tasks),
        schedule=predicted(lowered),
        bp_schedule=predicted(twin),
        scaling=scaling(lowered, errors.parameters, roofline(lowered.device, 1), PROCESSES),
    )


def _flat(program: "UpdateProgram") -> bool:
    errors = program.plan.errors
    topologies = [errors.rules[site].topology for site in errors.sites]
    descends = any(isinstance(t, Recursive) and t.depth > 1 and t.levels is None for t in topologies)
    return descends and not errors.structure.levels


def _site(program: "UpdateProgram", name: str, reach: Reach) -> SiteReport:
    errors = program.plan.errors
    site, port = errors.sites[name], errors.ports[name]
    edges = tuple(_edge(program, edge) for edge in errors.edges[name])
    levels = errors.structure.levels
    owned = {parameter: None for edge in edges for parameter in edge.parameters}
    return SiteReport(
        name=name,
        activation=site.activation,
        shape=port.unit_shape if port.shape[0] % port.batch == 0 else port.shape,
        block=levels[0].get(name) if levels else None,
        edges=edges,
        error_parameters=sum(errors.parameters[parameter].numel for parameter in owned),
        parameters=tuple(p for p in errors.parts.regions[site.h].parameters if p in program.lowered.layout.gradients),
        locking=_locking(edges, name, reach),
    )


def _locking(edges: tuple[EdgeReport, ...], name: str, reach: Reach) -> Locking | None:
    """What a site's credit waits for: another site that it hears, whatever that one computes, or what the step shows."""
    if name not in reach.credits:
        return None
    return "locked" if any(edge.source != OUTPUT for edge in edges) else reach.locking(name)


def _edge(program: "UpdateProgram", edge: ErrorEdge) -> EdgeReport:
    errors = program.plan.errors
    if edge.parameter is not None:
        names: tuple[str, ...] = (edge.parameter,)
    else:
        assert isinstance(edge.synapse, Mirror)
        owned = errors.mirrors.get(edge.synapse, {})
        names = tuple(dict.fromkeys(owned[w] for w in errors.path_weights(edge.source, edge.target) if w in owned))
    numbers = sum(errors.parameters[name].numel for name in names)
    return EdgeReport(
        source=edge.source, kind=edge.kind, synapse=_synapse_name(edge), plasticity=edge.plasticity.kind, parameters=names, numbers=numbers
    )  # fmt: skip


def _synapse_name(edge: ErrorEdge) -> str:
    if isinstance(edge.synapse, Mirror):
        return f"mirror ({edge.synapse.weights})"
    return edge.synapse.kind
