"""What comes out of a step: each parameter's update, gathered from its regions, and each error synapse's, put out when it is whole.

In a world of several processes whole is what all of them have summed: an update goes into a bucket, and is put out behind its arrival.
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from compiler.buckets import Buckets
from compiler.errors import CreditError
from compiler.flow import Flow, plus
from compiler.formats import like
from compiler.forward import Forward
from compiler.joint import Joint
from compiler.mirroring import Mirroring, mirrored
from compiler.noise import noise_update
from compiler.partition import Region
from compiler.plan import Plan
from compiler.signal import sums
from compiler.statistics import differs
from compiler.tracing import task
from wiring import OUTPUT, NoiseMirror


@dataclass
class Results:
    """What a step computes. ``credits``, per site, are for measuring alignment."""

    loss: Tensor
    output: Tensor
    discrepancy: Tensor
    gradients: dict[str, Tensor] = field(default_factory=dict)
    error_gradients: dict[str, Tensor] = field(default_factory=dict)
    buffers: dict[str, Tensor] = field(default_factory=dict)
    credits: dict[str, Tensor] = field(default_factory=dict)


class Updates:
    """The updates of a step that is being traced.

    ``gradients`` and ``error_gradients``: those that are out. ``buckets``: in a world, what is summed over its processes.
    """

    def __init__(self, plan: Plan, forward: Forward, synapses: Mapping[str, Tensor], joint: Joint | None) -> None:
        self._plan, self._forward, self._synapses, self._joint = plan, forward, synapses, joint
        taught = {own: p for own, p in plan.errors.parameters.items() if p.mirrors is not None and p.learns}
        self._by_noise = {own: p for own, p in taught.items() if isinstance(p.plasticity, NoiseMirror)}
        self._by_updates = {own: p for own, p in taught.items() if own not in self._by_noise}
        self._shares: dict[str, Flow] = {}
        self._summed: dict[str, bool] = {}
        self.gradients: dict[str, Tensor] = {}
        self.error_gradients: dict[str, Tensor] = {}
        self.buckets = None if joint is None else Buckets(joint)

    def add(self, region: Region, hearers: Iterable[str], name: str, flow: Flow) -> None:
        """Add a region's share to a parameter's update: a batch mean, or a sum where the rules of the sites that teach it say so."""
        summed = self._sums(region, hearers)
        share = flow if summed else flow.over(self._plan.scale)
        summed = summed or sums(self._plan.loss)
        with task(f"update:{region.name}"):
            if self._joint is not None and summed != self._summed.setdefault(name, summed):
                share = Flow(share.value * self._joint.turned(self._summed[name]), share.scale)
            self._shares[name] = plus(self._shares.get(name), share)

    def _sums(self, region: Region, hearers: Iterable[str]) -> bool:
        """Whether the sites whose credit runs through a region sum its updates; the output's credit makes means.

        Raises:
            CreditError: some do and others do not, and the region's one pass cannot keep them apart.
        """
        errors = self._plan.errors
        taught = [site for site in sorted(hearers) if site == OUTPUT or not errors.frozen(site)]
        wanted = {site: "mean" if site == OUTPUT else errors.rules[site].reduction for site in taught}
        if len(set(wanted.values())) > 1 and not sums(self._plan.loss):
            said = ", ".join(f"{site!r} a {reduction}" for site, reduction in wanted.items())
            raise CreditError(
                f"Wiring {self._plan.wiring.name!r} cannot credit {', '.join(region.parameters)}, which several sites teach: over the batch {said}. "
                "Give the rules of all these sites the same reduction ('mean', where the output is one of them)."
            )
        return "sum" in wanted.values()

    def finish(self, name: str) -> None:
        """A parameter's update is whole: put it out, and that of the mirrors that learn from it, so that what it was made of can go."""
        update, label = self._shares.pop(name), f"gradient:{name}"
        if self.buckets is None:
            self._take(name, update)
            return
        with task(label):
            whole = update.plain()
        self.buckets.add(
            label, whole, self._forward.parameters[name], self._summed[name], lambda total: self._take(name, Flow(total))
        )

    def teach(self, name: str, label: str, update: Tensor) -> None:
        """An error synapse's update is whole: put it out; ``label`` is the task that it belongs to."""
        self._teach(name, label, update, sums(self._plan.loss))

    def _teach(self, name: str, label: str, update: Tensor, summed: bool) -> None:
        """``summed``: whether the update is a sum over the batch and no mean."""

        def put(total: Tensor) -> None:
            self.error_gradients[name] = self._put_out(Flow(total), self._synapses[name])

        if self.buckets is None:
            put(update)
        else:
            self.buckets.add(label, update, self._synapses[name], summed, put)

    def results(self, loss: Tensor, discrepancies: list[Tensor]) -> Results:
        """Everything that is left is finished, and put out behind it the loss, the output, the total discrepancy and the buffers."""
        with task("discrepancy"):
            values = [value.reshape(()).to(loss.dtype) for value in discrepancies]
            total = (values[0] if len(values) == 1 else torch.stack(values).sum()) / self._plan.batch
        results = Results(loss, self._forward.output().detach(), total, self.gradients, self.error_gradients)
        for name in list(self._shares):
            self.finish(name)
        self._noise_phase()
        mutations = self._plan.captured.mutations
        results.buffers = {name: self._forward.value(node).detach() for name, node in mutations.items()}
        if self.buckets is not None:
            self._join(results, self.buckets)
        return results

    def _take(self, name: str, update: Flow) -> None:
        with task(f"gradient:{name}"):
            self.gradients[name] = self._put_out(update, self._forward.parameters[name])
        for own, parameter in self._by_updates.items():
            if parameter.mirrors == name:
                with task(f"plasticity:{own}"):
                    learned = mirrored(parameter.plasticity, Mirroring(own, self._synapses[own].detach(), update))
                    self.error_gradients[own] = self._put_out(learned, self._synapses[own])

    def _noise_phase(self) -> None:
        """Mirrors that learn from noise, a mean whatever the loss: each waits for nothing but its own weights."""
        for own, parameter in self._by_noise.items():
            assert parameter.mirrors is not None
            assert isinstance(parameter.plasticity, NoiseMirror)
            with task(f"noise:{own}"):
                update = noise_update(self._forward, parameter.mirrors, self._synapses[own], parameter.plasticity)
                self._teach(own, f"noise:{own}", update, False)

    def _join(self, results: Results, buckets: Buckets) -> None:
        """Loss, discrepancy and buffers of the joint batch; then every sum is waited for and put out."""
        for name in ("loss", "discrepancy"):
            value = getattr(results, name)
            put: Callable[[Tensor], None] = functools.partial(setattr, results, name)
            buckets.add(name, value, value, name == "loss" and sums(self._plan.loss), put)
        for name, node in self._plan.captured.mutations.items():
            if differs(node, self._plan.dataflow, self._plan.joint_norms):
                value = results.buffers[name]
                buckets.add(f"buffer:{name}", value, value, False, functools.partial(results.buffers.__setitem__, name))
        buckets.settle()

    def _put_out(self, update: Flow, parameter: Tensor) -> Tensor:
        """The update in its parameter's dtype, re-projected where the wiring says so, and in its memory format, as autograd's is."""
        longest = self._plan.wiring.reprojection
        scale = update.scale if longest is not None and update.scale > 0 else 1.0
        value = (update if scale == 1.0 else Flow(update.value)).plain().detach().to(parameter.dtype)
        if longest is not None:  # u / max(1, |u| / longest) of u = value * scale, in one pass over the value
            excess = torch.linalg.vector_norm(value).clamp(min=longest / scale)
            value = value / (excess if longest == 1.0 else excess / longest)
        return like(value, parameter)
