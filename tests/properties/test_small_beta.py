"""For smooth ``phi`` target credit is gradient credit as ``beta`` goes to 0: ``phi(h) - phi(h - beta d) = beta phi'(h) d + O(beta^2)``.

The remainder is at most ``beta^2 d^2 M / 2`` with ``M`` the largest ``|phi''|``. A hop divides what it sends on by ``beta``, so of a
chain's hops the first one's remainder weighs most: the angle between the two updates falls linearly in ``beta``, as long as
``beta^depth`` stays far above rounding.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from pool import pooled
from programs import learner_of
from torch import Tensor, nn
from updates import step

from runtime import Learner
from runtime.alignment import angle
from wiring import Dense, Direct, Gradient, Mirror, Pairwise, Rule, Target, Wiring
from wiring.spec import Credit

ROUNDING = 4 * torch.finfo(torch.float64).eps
DEGREES = 1e-5
"""What rounding may do to an angle."""
CURVATURE: dict[Callable[[], nn.Module], float] = {
    nn.Tanh: 4 / math.sqrt(27), nn.Sigmoid: 1 / math.sqrt(108), nn.Softplus: 0.25, nn.ELU: 1.0, nn.SiLU: 0.5, nn.GELU: 2 / math.sqrt(2 * math.pi),
}  # fmt: skip
"""The largest ``|phi''|``."""


@dataclass(frozen=True)
class Chain:
    """Linear layers of ``widths``, each with an activation, and a batch of four; ``topology`` and ``synapse`` of its wirings."""

    widths: tuple[int, ...]
    activations: tuple[Callable[[], nn.Module], ...]
    rule: Rule
    seed: int

    def model(self) -> nn.Sequential:
        """With the weights of its seed."""
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            model = nn.Sequential()
            for before, after, activation in zip((3, *self.widths), self.widths, self.activations, strict=False):
                model.extend([nn.Linear(before, after), activation()])
            return model.append(nn.Linear(self.widths[-1], 3)).double()

    def learner(self, credit: Credit) -> Learner:
        """The same numbers, error synapses included, whatever the credit."""
        return learner_of(self, Wiring(name="drawn", rules=(self.rule.model_copy(update={"credit": credit}),)))

    def data(self) -> tuple[Tensor, Tensor]:
        source = torch.Generator().manual_seed(self.seed)
        return torch.randn(4, 3, generator=source, dtype=torch.float64), torch.randint(3, (4,), generator=source)


RULES = {
    "direct": Rule(topology=Direct(), synapse=Dense()),
    "pairwise": Rule(topology=Pairwise(), synapse=Dense()),
    "mirrored": Rule(topology=Pairwise(), synapse=Mirror()),
}


def chains(depth: int, rule: Rule) -> st.SearchStrategy[Chain]:
    widths, activations = st.integers(1, 5), st.sampled_from(list(CURVATURE))
    return st.builds(Chain, st.tuples(*[widths] * depth), st.tuples(*[activations] * depth), st.just(rule), st.just(0))


CHAINS = pooled(*[chains(depth, rule) for depth in (1, 2, 3) for rule in RULES.values()], each=1)


def remainders(chain: Chain, learner: Learner, beta: float) -> dict[str, Tensor]:
    """For each hidden weight ``[out, in]`` the most by which ``dW / beta^hops`` under targets can differ from gradient credit's ``dW``.

    From the output inwards: ``g`` is what the sender sends under gradient credit, ``off`` by how much more or less targets send,
    ``beta`` divided out, and ``hops`` how many times that is.
    """
    layers = [layer for layer in learner.model if isinstance(layer, nn.Linear)]
    direct = isinstance(chain.rule.topology, Direct)
    x, y = chain.data()
    values, pre = [x], []
    for layer, activation in zip(layers, chain.activations, strict=False):
        pre.append(layer(values[-1]).detach().requires_grad_())
        values.append(activation()(pre[-1]))
    e = (torch.softmax(layers[-1](values[-1]), 1) - F.one_hot(y, 3)).detach()
    g, off, hops = e, torch.zeros_like(e), 0
    found = {}
    for k in reversed(range(len(pre))):
        if direct:
            g, off, hops = e, torch.zeros_like(e), 0
        E = _synapse(chain, learner, k)
        d, off = g @ E, off @ E.abs()
        hops += 1
        slope = torch.autograd.grad(values[k + 1].sum(), pre[k], retain_graph=True)[0]
        curved = beta**hops * CURVATURE[chain.activations[k]] / 2 * (d.abs() + off) ** 2
        off = slope.abs() * off + curved + ROUNDING * (1 + pre[k].abs() + values[k + 1].abs()).detach() / beta**hops
        g = slope * d
        found[f"{2 * k}.weight"] = off.T @ values[k].detach().abs() / len(x)
    return found


def _synapse(chain: Chain, learner: Learner, k: int) -> Tensor:
    """What the ``k``-th site hears through, ``[sender's units, own units]``."""
    last = isinstance(chain.rule.topology, Direct) or k == len(chain.widths) - 1
    name = (
        f"{'output' if last else 2 * k + 3}->{2 * k + 1}" if isinstance(chain.rule.synapse, Dense) else f"mirror:{2 * k + 2}.weight"
    )
    return learner.error_synapses()[name].detach()


@given(CHAINS)
def test_the_angle_to_gradient_credit_falls_linearly_with_beta(chain: Chain) -> None:
    """It is at most the remainder's share of the update, which is ``O(beta)`` over one hop and over several."""
    plain = step(chain.learner(Gradient()), *chain.data())
    for beta in (1e-1, 1e-3):
        learner = chain.learner(Target(beta=beta))
        aimed = step(learner, *chain.data())
        for name, remainder in remainders(chain, learner, beta).items():
            share = remainder.norm().item() / plain[name].norm().item()
            assert angle(aimed[name], plain[name]) <= math.degrees(math.asin(min(share, 1.0))) + DEGREES


@pytest.mark.parametrize("kind", RULES)
def test_a_tenth_of_beta_has_a_tenth_of_the_angle(kind: str) -> None:
    chain = Chain((5, 4, 5), (nn.Tanh, nn.Softplus, nn.Sigmoid), RULES[kind], seed=0)
    plain = step(chain.learner(Gradient()), *chain.data())
    angles = {}
    for beta in (1e-1, 1e-2, 1e-3):
        aimed = step(chain.learner(Target(beta=beta)), *chain.data())
        angles[beta] = [angle(aimed[name], plain[name]) for name in ("0.weight", "2.weight", "4.weight")]
    for larger, smaller in ((1e-1, 1e-2), (1e-2, 1e-3)):
        for before, after in zip(angles[larger], angles[smaller], strict=True):
            assert after == pytest.approx(before / 10, rel=0.2)
