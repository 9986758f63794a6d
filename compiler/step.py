"""One training step as an ordinary function: forward cut at every head, loss, credit, updates, plasticity.

It runs once, under tracing. Every piece of work runs as soon as what it needs is there and not before somebody needs it, so
the trace is already in memory order: where credit waits for nothing behind it (DRTP), a region updates right behind its
forward pass and its activations die.
"""

import functools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx

from compiler.backward import Backward
from compiler.credit import Arrival, credit
from compiler.elsewhere import forward_map
from compiler.errorgraph import ErrorEdge
from compiler.errors import CreditError, LabelError, LossError
from compiler.flow import Flow, plus
from compiler.forward import Forward
from compiler.joint import Joint
from compiler.outside import Outside
from compiler.partition import Region
from compiler.plan import Plan
from compiler.plasticity import Plastic, Receiver, learned
from compiler.signal import loss_name, one_hot
from compiler.sites import Site
from compiler.tracing import task
from compiler.transmission import sender_of, transmit, unread
from compiler.updates import Results, Updates
from wiring import OUTPUT


class Step:
    """A step in the making.

    Its tasks: ``forward:R``, ``loss``, ``transmit:E``, ``credit:S``, ``update:R``, ``gradient:P``, ``plasticity:P``, ``noise:P``;
    in a world ``reduce:B``, which launches bucket ``B``, and ``arrive:B``, which waits for it.
    """

    def __init__(
        self, plan: Plan, tensors: Mapping[fx.Node, Any], parameters: Mapping[str, Tensor], synapses: Mapping[str, Tensor],
        samples: Tensor | None = None,
    ) -> None:  # fmt: skip
        self.plan = plan
        joint = None if plan.world is None or samples is None else Joint(plan.world, samples, plan.batch)
        norms = dict.fromkeys(plan.joint_norms, joint) if joint is not None else {}
        self.forward = Forward(plan.captured, plan.dataflow, plan.errors, tensors, parameters, plan.context, plan.layout, norms)
        leaves = {name: _leaf(value, plan.errors.parameters[name].learns) for name, value in synapses.items()}
        self.synapses = leaves
        self.backward = Backward(plan.errors, self.forward, leaves, plan.scale)
        self.sent: dict[str, Flow] = {}
        self.credits: dict[str, Flow] = {}
        self.targets: dict[str, Tensor] = {}
        self.discrepancies: list[Tensor] = []
        self.updates = Updates(plan, self.forward, leaves, joint)
        self.waiting = list(reversed(plan.errors.parts.regions.values()))

    def run(self, labels: Any) -> Results:
        """Trace the step in order."""
        graph = self.plan.errors
        for node in self.plan.captured.graph.nodes:
            if node.op == "placeholder":
                with task(f"forward:{self._region_name(next(iter(node.users), node))}"):
                    self.forward.enter(node)
            if node.op in ("placeholder", "output"):
                continue
            with task(f"forward:{self._region_name(node)}"):
                self.forward.run(node)
            if node in graph.parts.z_site:
                self._advance(labels)
        loss = self._loss(graph.parts.output.head, labels)
        self._advance(labels)
        self._check_credited()
        results = self.updates.results(loss, self.discrepancies)
        results.credits = {site: flow.value for site, flow in self.credits.items() if site != OUTPUT and site in graph.sites}
        return results

    def _region_name(self, node: fx.Node) -> str:
        parts = self.plan.errors.parts
        if node in parts.owner:
            return parts.regions[parts.owner[node]].name
        return parts.phi[node].name if node in parts.phi else "rest"

    # ------------------------------------------------------------------ the output

    def _loss(self, head: fx.Node, labels: Any) -> Tensor:
        v = self.forward.leaf(head)
        with task("loss"):
            name = loss_name(self.plan.loss)
            output = self.forward.output()
            try:
                with self.plan.context():
                    loss = self.plan.loss(output, labels)
            except Exception as error:
                raise LabelError(
                    f"Loss {name!r} refuses the output {_shown(output)} with labels {_shown(labels)}: {error}. "
                    "Pass labels of the dtype and shape that it wants, or another loss."
                ) from error
            if not isinstance(loss, Tensor) or loss.numel() != 1:
                got = f"shape {list(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
                raise LossError(f"Loss {name!r} returns {got} and not one number. Reduce it with .mean() or reduction='mean'.")
            gradient = torch.autograd.grad(loss, v, allow_unused=True, retain_graph=True)[0] if loss.requires_grad else None
            if gradient is None:
                raise LossError(
                    f"Loss {name!r} does not depend on the model's output, so there is no error to send. Let it read its first argument."
                )
            self.error = Flow(gradient, self.plan.scale)
            self.credits[OUTPUT] = self.error
            self.discrepancies.append((torch.linalg.vector_norm(gradient) * self.plan.scale) ** 2)
            return loss.reshape(())

    def _signal(self, site: str, labels: Any) -> Flow | None:
        """What the output sends to a site; ``None`` while it is not known yet."""
        wanted = self.plan.errors.rules[site].signal
        key = f"{OUTPUT}:{wanted}"
        if key in self.sent:
            return self.sent[key]
        if wanted == "target":
            v = self.plan.errors.parts.output.head.meta["val"]
            with task("signal"):
                like = torch.empty(v.shape, dtype=v.dtype, device=v.device)
                self.sent[key] = self._neutral(labels[1] if isinstance(self.plan.loss, Outside) else one_hot(labels, like))
        elif OUTPUT in self.credits:
            with task("signal"):
                self.sent[key] = self.error if wanted == "error" else self._neutral(torch.sign(self.error.value))
        return self.sent.get(key)

    def _neutral(self, signal: Tensor) -> Flow:
        """A signal at the scale of the output's error, so that its linear descendants are batch means as they come."""
        return Flow(signal * (1.0 / self.plan.scale), self.plan.scale)

    # ------------------------------------------------------------------ what can run, runs

    def _advance(self, labels: Any) -> None:
        """Run credit and updates of every region whose needs are met, output side first, until nothing more can."""
        moved = True
        while moved:
            moved = False
            for region in list(self.waiting):
                if self.forward.has(region.head) and self._try(region, labels):
                    self.waiting.remove(region)
                    moved = True

    def _try(self, region: Region, labels: Any) -> bool:
        site = region.name if region.site else None
        open_credit = site is not None and site not in self.credits and not self.plan.errors.frozen(site)
        if open_credit and not self._credit(region.name, labels):
            return False
        if region.name == OUTPUT and OUTPUT not in self.credits:
            return False
        if self.backward.waits_for(region):
            return False
        signals = {target: self._signal(target, labels) for target in self.backward.mirror_targets(region, OUTPUT)}
        with task(f"update:{region.name}"):
            found = self.backward.run(region, self.credits.get(region.name), self.sent.get(region.name), signals)
        for name, flow in found.items():
            self.updates.add(region, self.backward.hearers(region), name, flow)
        for name in found:
            if self.backward.all_run(name):
                self.updates.finish(name)
        return True

    def _check_credited(self) -> None:
        """Everything has run that can: a site with an edge into it, and still without credit, would be passed over in silence.

        Raises:
            CreditError: naming the site and what it waits for.
        """
        open_sites = [site for site, edges in self.plan.errors.edges.items() if edges and site not in self.credits]
        if open_sites:
            site = open_sites[-1]  # the one next to the output: others may wait for it
            senders = ", ".join(repr(edge.source) for edge in self.plan.errors.edges[site])
            raise CreditError(
                f"Wiring {self.plan.wiring.name!r} never credits site {site!r}: no error arrives from {senders}. Let each of these hear "
                "somebody, drop edges by which the site would wait for itself, or freeze it by a rule of shallow()."
            )

    def _credit(self, site: str, labels: Any) -> bool:
        if not self.forward.has(self.plan.errors.sites[site].z) or not self.backward.mirrors_arrived(site):
            return False
        edges = [edge for edge in self.plan.errors.edges[site] if edge.parameter is not None]
        senders = {e.source: self._signal(site, labels) if e.source == OUTPUT else self.sent.get(e.source) for e in edges}
        if any(flow is None for flow in senders.values()) or any(unread(self.forward, edge) for edge in edges):
            return False
        displacement = self.backward.displacement.get(site)
        carried: list[tuple[ErrorEdge, Flow]] = []
        for edge in edges:
            flow = senders[edge.source]
            assert flow is not None
            with task(f"transmit:{edge.parameter}"):
                arrived = transmit(self.forward, edge, self.synapses[edge.parameter or ""], flow)
                carried.append((edge, arrived))
                displacement = plus(displacement, Flow(arrived.value.detach(), arrived.scale))
        if displacement is None:
            return True
        self._apply(site, displacement)
        for edge, arrived in carried:
            self._learn(edge, arrived, senders[edge.source], displacement)
        return True

    def _apply(self, site: str, displacement: Flow) -> None:
        graph, place = self.plan.errors, self.plan.errors.sites[site]
        with task(f"credit:{site}"):
            names = self.forward.phi_parameters(place)
            skip = any(edge.kind == "skip" for edge in graph.edges[site])
            z = self.forward.leaf(place.z)
            displacement = Flow(self.forward.settled(displacement.value.to(z.dtype), z), displacement.scale)
            arrival = Arrival(
                place,
                displacement,
                self.forward.leaf(place.h),
                self.forward.attached(place),
                lambda h: self.forward.phi(place, h),
                skip,
                [self.forward.parameters[name] for name in names],
                tuple(edge.source for edge in graph.edges[site]),
            )
            done = credit(graph.rules[site].credit, arrival)
        self.credits[site], self.sent[site] = done.credit, done.error
        if done.target is not None:
            self.targets[site] = done.target
        if done.discrepancy is not None:
            self.discrepancies.append(done.discrepancy)
        region = graph.parts.regions[place.h]
        for name, value in zip(names, done.parameters, strict=False):
            if value is not None:
                self.updates.add(region, self.backward.hearers(region), name, Flow(value, done.credit.scale))

    def _learn(self, edge: ErrorEdge, arrived: Flow, sent: Flow | None, displacement: Flow) -> None:
        name, graph = edge.parameter or "", self.plan.errors
        if not graph.parameters[name].learns or sent is None:
            return
        site = graph.sites[edge.target]
        with task(f"plasticity:{name}"):
            state = Plastic(
                name, self.synapses[name], sender_of(self.forward, edge, sent, self.synapses[name].dtype),
                Receiver(self.forward.leaf(site.z).detach(), displacement, self.sent[edge.target], functools.partial(self._slope, site)),
                graph.ports[edge.source], graph.ports[edge.target],
                functools.partial(forward_map, self.forward, edge.target, edge.source),
                arrived, self.plan.scale,
            )  # fmt: skip
            self.updates.teach(name, f"plasticity:{name}", learned(edge.plasticity, state))

    def _slope(self, site: Site, vector: Flow) -> Flow:
        """A vector times the derivative at the site's target, or where it has none at ``h``."""
        h = self.targets.get(site.name)
        return Flow(self.forward.slope(site, self.forward.leaf(site.h) if h is None else h, vector.value), vector.scale)


def _shown(value: Any) -> str:
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def _leaf(value: Tensor, learns: bool) -> Tensor:
    return value.detach().requires_grad_(learns)
