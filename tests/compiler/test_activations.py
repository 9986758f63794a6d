"""Activations of several operators, and of one that torch would take apart: whole as sites, and nothing lost where they are read inside."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import wiring
from compiler import CreditError, SiteError, UpdateProgram, compile
from compiler.capture import capture
from compiler.dataflow import analyse, op_name
from compiler.example import Inputs
from compiler.partition import partition
from compiler.sites import Site, find_sites
from runtime import Learner
from wiring import Dense, Edge, Explicit, Gradient, Hebbian, Rule, Sites, Target, Wiring

Write = Callable[[Tensor], tuple[Tensor, Tensor]]


class ReadTwice(nn.Module):
    """An activation by hand and a value inside it, which two layers read."""

    def __init__(self, write: Write) -> None:
        super().__init__()
        self.first, self.whole, self.part = nn.Linear(5, 6), nn.Linear(6, 4), nn.Linear(6, 4)
        self.write = write

    def forward(self, x: Tensor) -> Tensor:
        whole, part = self.write(self.first(x))
        logits: Tensor = self.whole(whole) + self.part(part)
        return logits


def batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return 2 * torch.randn(7, 5, dtype=torch.float64), torch.arange(7) % 4


def compiled(model: nn.Module, algorithm: Wiring) -> UpdateProgram:
    return compile(model.double(), algorithm, batch())


def gradients(model: nn.Module, program: UpdateProgram) -> dict[str, Tensor]:
    """Those of the wiring, taken off the parameters."""
    Learner(program).learn(*batch())
    found = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    model.zero_grad()
    return found


def by_autograd(model: nn.Module) -> dict[str, Tensor]:
    x, y = batch()
    F.cross_entropy(model(x), y).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


def gate(h: Tensor) -> tuple[Tensor, Tensor]:
    g = torch.sigmoid(h)
    return h * g, g


def mixture(h: Tensor) -> tuple[Tensor, Tensor]:
    g = torch.sigmoid(h)
    return g * h + (1 - g) * torch.tanh(h), h


def square(h: Tensor) -> tuple[Tensor, Tensor]:
    r = torch.relu(h)
    return h * r, r


def mish(h: Tensor) -> tuple[Tensor, Tensor]:
    t = torch.tanh(F.softplus(h))
    return h * t, t


@pytest.mark.parametrize("write", [gate, mixture, square, mish], ids=lambda write: write.__name__)
def test_no_gradient_is_lost_where_an_activation_is_read_in_its_middle(write: Write) -> None:
    torch.manual_seed(1)
    model = ReadTwice(write)
    found = gradients(model, compiled(model, wiring.bp()))
    for name, expected in by_autograd(model).items():
        torch.testing.assert_close(found[name], expected, rtol=1e-12, atol=1e-14)


def test_regions_refuse_a_reader_inside_an_activation() -> None:
    """However sites were found: here SiLU is one although its gate is read by another layer."""
    captured = capture(ReadTwice(gate).double(), Inputs.of(batch()[0]), None)
    flow = analyse(captured, ["first.weight"])
    found = find_sites(captured, flow, Sites())
    inner, product = (next(node for node in captured.graph.nodes if op_name(node) == name) for name in ("sigmoid", "mul"))
    site = Site("silu", "", inner.args[0], product, (inner, product), "silu")
    with pytest.raises(SiteError, match=r"'silu' \(silu\).*'sigmoid'.*reads as well.*gradient would be lost.*exclude=\('silu',\)"):
        partition(captured, found.flow, [site], found.v)


class Mish(nn.Module):
    """Mish by hand."""

    def forward(self, h: Tensor) -> Tensor:
        return h * torch.tanh(F.softplus(h))


@pytest.mark.parametrize("last", [nn.Tanhshrink, Mish, nn.Softshrink], ids=lambda last: last.__name__)
def test_an_activation_at_the_end_is_no_hidden_site(last: type[nn.Module]) -> None:
    """The layer in front of the output learns by its own gradient under direct feedback."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 4), last())
    program = compiled(model, wiring.dfa())
    assert [site.name for site in program.report().sites] == ["1"]
    torch.testing.assert_close(gradients(model, program)["2.weight"], by_autograd(model)["2.weight"], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("activation", "kind"),
    [
        (lambda: nn.Softshrink(0.3), "softshrink"),
        (lambda: nn.Hardshrink(0.3), "hardshrink"),
        (nn.Softsign, "softsign"),
        (lambda: nn.RReLU().eval(), "leaky_relu"),
    ],
    ids=["softshrink", "hardshrink", "softsign", "fixed-rrelu"],
)
def test_an_activation_that_torch_takes_apart_is_one_site(activation: Callable[[], nn.Module], kind: str) -> None:
    """Backpropagation through it equals autograd bit for bit."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(5, 6), activation(), nn.Linear(6, 4))
    program = compiled(model, wiring.bp())
    assert [(site.name, site.activation) for site in program.report().sites] == [("1", kind)]
    found = gradients(model, program)
    for name, expected in by_autograd(model).items():
        assert torch.equal(found[name], expected), name


def test_an_rrelu_whose_slope_is_fixed_takes_targets() -> None:
    torch.manual_seed(1)
    rrelu = nn.Sequential(nn.Linear(5, 6), nn.RReLU(0.1, 0.3).eval(), nn.Linear(6, 4))
    leaky = nn.Sequential(rrelu[0], nn.LeakyReLU(0.2), rrelu[2])
    found = []
    for model in (rrelu, leaky):
        torch.manual_seed(2)
        found.append(gradients(model, compiled(model, wiring.rec_lra())))
    for name, expected in found[1].items():
        torch.testing.assert_close(found[0][name], expected, rtol=1e-12, atol=1e-14)


def drawn(derivative: bool, credit: Gradient | Target) -> Wiring:
    edges = Explicit(edges=(Edge(source="output", target="1"),))
    rule = Rule(topology=edges, synapse=Dense(), plasticity=Hebbian(derivative=derivative), credit=credit)
    return Wiring(name="drawn", rules=(rule,))


def test_a_drawn_slope_is_never_drawn_twice() -> None:
    model = nn.Sequential(nn.Linear(5, 6), nn.RReLU(), nn.Linear(6, 4))
    with pytest.raises(CreditError, match=r"slope of site '1' \(rrelu\), which draws its slopes anew.*derivative=False"):
        compiled(model, drawn(True, Gradient()))
    with pytest.raises(CreditError, match=r"'1' \(rrelu\) a target"):
        compiled(model, drawn(False, Target()))
    compiled(model.eval(), drawn(True, Gradient()))
