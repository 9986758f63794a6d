"""The backward pass of each region: from the credit at its head to its parameters, and over its cuts where a mirror runs.

What arrives at a head is grouped by what it is for. A *purpose* is a pair: the way that it is carried (over which weights,
around which operators), and ``local`` (it teaches parameters) or ``sent:<site>`` (it travels to a site that hears the head). Purposes that
share a tensor share one pass: under backpropagation, one pass gives a region's updates and the next sites' displacements. In front of a
junction only those go on that something there wants, so that what different heads send to the same sites is one again.
"""

import functools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, fx

from compiler.errorgraph import ErrorGraph, in_front, mode
from compiler.flow import Flow, plus
from compiler.forward import Forward
from compiler.initial import bound
from compiler.mirrors import Way
from compiler.partition import Region
from wiring import OUTPUT, Mirror

Purpose = tuple[Way, str]
Purposes = frozenset[Purpose]
LOCAL, NOBODY = "local", "sent:"


class Backward:
    """Arrivals at heads, displacements at sites, and the passes between them.

    ``neutral``: the scale of a flow whose gradients are batch means as they come.
    """

    def __init__(self, errors: ErrorGraph, forward: Forward, synapses: Mapping[str, Tensor], neutral: float) -> None:
        self.errors, self.forward, self.synapses = errors, forward, synapses
        self.neutral = neutral
        self.displacement: dict[str, Flow] = {}
        self._arrivals: dict[fx.Node, dict[Purposes, Flow]] = {}
        self._through = errors.parts.hearers
        self._in_front = in_front(errors.parts)
        self._done: set[str] = set()
        self._mirrors: dict[tuple[Mirror, str], Tensor | None] = {}
        self._readings: dict[str, set[str]] = {}
        self._readers: dict[fx.Node, list[Region]] = {}
        for region in errors.parts.regions.values():
            for cut in region.cuts:
                self._readers.setdefault(cut, []).append(region)
            for name in (*region.parameters, *(forward.phi_parameters(region.site) if region.site else ())):
                self._readings.setdefault(name, set()).add(region.name)

    def hearers(self, region: Region) -> set[str]:
        """The sites (or the output) whose credit runs through a region."""
        return self._through[region.name]

    def carries(self, region: Region, site: str) -> bool:
        """Whether a region's pass carries errors to a site: whether a mirror edge runs there."""
        return any(e.source in self._through[region.name] and isinstance(e.synapse, Mirror) for e in self.errors.edges[site])

    def mirror_targets(self, region: Region, source: str) -> list[str]:
        """Sites that hear ``source`` over mirrors, if ``source`` heads this region."""
        if region.name != source:
            return []
        return [
            s for s, edges in self.errors.edges.items() if any(e.source == source and isinstance(e.synapse, Mirror) for e in edges)
        ]

    def mirrors_arrived(self, site: str) -> bool:
        """Whether every mirror edge into a site has been run."""
        readers = self._readers.get(self.errors.sites[site].z, [])
        return all(region.name in self._done or not self.carries(region, site) for region in readers)

    def all_run(self, parameter: str) -> bool:
        """Whether every region that reads a parameter has run, so that its update is whole."""
        return self._readings[parameter] <= self._done

    def waits_for(self, region: Region) -> bool:
        """Whether a region that reads this one's head (not as a site's value) is still to come."""
        if region.head in self.errors.parts.z_site:
            return False
        return any(reader.name not in self._done for reader in self._readers.get(region.head, []))

    def run(self, region: Region, credit: Flow | None, sent: Flow | None, signals: Mapping[str, Flow | None]) -> dict[str, Flow]:
        """One region's passes; returns each parameter's share.

        ``credit`` at its head teaches its parameters; ``sent`` (for the output: ``signals`` by site) goes to hearing sites. A frozen
        region neither learns nor sends, and passes on what arrives from readers of its head, before its activation.
        """
        self._done.add(region.name)
        arrivals = dict(self._arrivals.get(region.head, {}))
        frozen = region.site is not None and self.errors.frozen(region.name)
        if not frozen:
            for purposes, flow in self._own(region, credit, sent, signals).items():
                arrivals[purposes] = plus(arrivals.get(purposes), flow)
        updates: dict[str, Flow] = {}
        for purposes, flow in arrivals.items():
            self._pass(region, purposes, flow, updates, taught=[] if frozen else region.parameters)
        return updates

    def _own(
        self, region: Region, credit: Flow | None, sent: Flow | None, signals: Mapping[str, Flow | None]
    ) -> dict[Purposes, Flow]:
        """What the head itself contributes, purposes of the same tensor and way together."""
        if region.site is None and region.name != OUTPUT:
            return {}
        flows: dict[Purpose, Flow] = {}
        if credit is not None:
            flows[self.errors.local_way(region.name), LOCAL] = credit
        for site, edges in self.errors.edges.items():
            for edge in edges:
                if edge.source == region.name and isinstance(edge.synapse, Mirror):
                    flow = signals.get(site) if region.name == OUTPUT else sent
                    if flow is not None:
                        flows[Way(mode(edge.synapse)), _sent_to(site)] = flow
        grouped: dict[tuple[Way, int], tuple[set[Purpose], Flow]] = {}
        for purpose, flow in flows.items():
            grouped.setdefault((purpose[0], id(flow)), (set(), flow))[0].add(purpose)
        return {frozenset(purposes): self._cheaper(region, purposes, flow) for purposes, flow in grouped.values()}

    def _cheaper(self, region: Region, purposes: set[Purpose], flow: Flow) -> Flow:
        """Divide by the batch at the head where it holds fewer numbers than the parameters that the flow teaches."""
        taught = sum(self.forward.parameters[name].numel() for name in region.parameters)
        if all(purpose == LOCAL for _, purpose in purposes) and taught > flow.value.numel() and flow.scale != self.neutral:
            return Flow(flow.value * (flow.scale / self.neutral), self.neutral)
        return flow

    def _pass(self, region: Region, purposes: Purposes, flow: Flow, updates: dict[str, Flow], taught: Sequence[str]) -> None:
        """One vector-Jacobian product of the region, and of the parameters that are ``taught``."""
        way = next(iter(purposes))[0]
        head = self.forward.computed(region.head)
        names = taught if any(purpose == LOCAL for _, purpose in purposes) else []
        cuts = {cut: wanted for cut in region.cuts if (wanted := self._wanted(cut, purposes))}
        sources: list[tuple[Tensor, str | fx.Node]] = [(self.forward.parameters[name], name) for name in names]
        sources += [(self.forward.leaf(cut), cut) for cut in cuts if self.forward.leaf(cut).requires_grad]
        if not sources or not head.requires_grad:
            return
        own = way.mirror.weights == "forward"
        weights = None if own else self.forward.weights(functools.partial(self._replaced, way.mirror))
        with self.forward.transport.through(way, weights, flow.scale):
            arrived = self.forward.settled(flow.value.to(head.dtype), head)
            found = torch.autograd.grad(head, [s for s, _ in sources], arrived, allow_unused=True, retain_graph=True)
        for (_, origin), gradient in zip(sources, found, strict=True):
            if gradient is None:
                continue
            if isinstance(origin, str):
                updates[origin] = plus(updates.get(origin), Flow(gradient, flow.scale))
            else:
                self._arrive(origin, cuts[origin], Flow(gradient, flow.scale))

    def _wanted(self, cut: fx.Node, purposes: Purposes) -> Purposes:
        """The purposes that go on over a cut. Where a junction leads to no site of a pass, its teaching stays apart from passes that only teach."""
        site = self.errors.parts.z_site.get(cut)
        there = {LOCAL, *map(_sent_to, self._in_front[cut])} if site is None else {_sent_to(site.name)}
        wanted = frozenset((way, purpose) for way, purpose in purposes if purpose in there)
        if wanted != purposes and all(purpose == LOCAL for _, purpose in wanted):
            return wanted | {(way, NOBODY) for way, _ in wanted}
        return wanted

    def _arrive(self, cut: fx.Node, purposes: Purposes, flow: Flow) -> None:
        site = self.errors.parts.z_site.get(cut)
        if site is not None:
            self.displacement[site.name] = plus(self.displacement.get(site.name), flow)
        else:
            there = self._arrivals.setdefault(cut, {})
            there[purposes] = plus(there.get(purposes), flow)

    def _replaced(self, through: Mirror, weight: str) -> Tensor | None:
        """What stands for a forward parameter under a mirror mode; ``None`` where the parameter stands for itself."""
        key = (through, weight)
        if key not in self._mirrors:
            self._mirrors[key] = self._mirror_value(through, weight)
        return self._mirrors[key]

    def _mirror_value(self, through: Mirror, weight: str) -> Tensor | None:
        own = self.errors.mirrors.get(through, {}).get(weight)
        if through.weights == "random":
            return None if own is None else self.synapses[own].detach()
        forward = self.forward.parameters[weight].detach()
        if forward.dim() < 2 or (through.magnitude == "fixed" and own is None):
            return None
        if through.magnitude == "fixed":
            return torch.sign(forward) * self.synapses[own or ""].detach()
        most = bound(through.init, forward)
        magnitude = most / 2 if through.magnitude == "constant" else torch.rand_like(forward) * most
        return torch.sign(forward) * magnitude


def _sent_to(site: str) -> str:
    return f"sent:{site}"
