"""Words that do something wrong are named when the step is compiled, with what was wanted."""

from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
from extending_case import batch, learned, network
from torch import Tensor

from compiler import CompileError, CreditError, EdgeError, compile
from compiler.extend import (
    Arrival,
    Credit,
    Credited,
    Edge,
    Flow,
    Mirroring,
    Plastic,
    Plasticity,
    Port,
    Receiver,
    Relay,
    Sender,
    SiteStructure,
    Synapse,
    Topology,
    crediting,
    learning,
    mirroring,
    operator,
    post,
)
from wiring import Dense, Hebbian, InvalidWiring, KolenPollack, Wiring, dfa, drtp, fa
from wiring import Edge as Drawn


class Odd(Synapse):
    kind: Literal["odd"] = "odd"


class OddOperator:
    """What a test makes of it."""

    sized: Any = (4,)
    started: Callable[[tuple[int, ...], torch.Generator], Any] = staticmethod(lambda shape, generator: torch.zeros(shape))
    sent: Callable[..., Any] = staticmethod(lambda E, e, source, target: torch.zeros(target.shape, dtype=e.dtype))

    def shape(self, spec: Odd, source: Port, target: Port) -> Any:
        return self.sized() if callable(self.sized) else self.sized

    def start(self, spec: Odd, shape: tuple[int, ...], source: Port, generator: torch.Generator) -> Any:
        return type(self).started(shape, generator)

    def transmit(self, spec: Odd, synapse: Tensor, error: Tensor, source: Port, target: Port) -> Any:
        return type(self).sent(synapse, error, source, target)


operator(Odd)(OddOperator)


class OddCredit(Credit):
    kind: Literal["odd"] = "odd"


MADE: dict[str, Any] = {}


@crediting(OddCredit)
def odd_credit(spec: OddCredit, arrival: Arrival) -> Any:
    return MADE["credit"](arrival)


class OddPost(Plasticity):
    kind: Literal["odd_post"] = "odd_post"


@post(OddPost)
def odd_post(spec: OddPost, receiver: Receiver) -> Any:
    return MADE["post"](receiver)


class OddLearning(Plasticity):
    kind: Literal["odd_learning"] = "odd_learning"


@learning(OddLearning)
def odd_learning(spec: OddLearning, edge: Plastic) -> Any:
    return MADE["learning"](edge)


class OddMirroring(Plasticity):
    teaches = "mirrors"
    kind: Literal["odd_mirroring"] = "odd_mirroring"


@mirroring(OddMirroring)
def odd_mirroring(spec: OddMirroring, state: Mirroring) -> Any:
    return MADE["mirroring"](state)


class OddTopology(Topology):
    kind: Literal["odd"] = "odd"

    def arriving(self, site: str, structure: SiteStructure) -> Any:
        return MADE["topology"](site)


class Unanswered(Topology):
    kind: Literal["unanswered"] = "unanswered"


class Unregistered(Synapse):
    kind: Literal["unregistered"] = "unregistered"


class UnregisteredCredit(Credit):
    kind: Literal["unregistered"] = "unregistered"


class UnregisteredMirroring(Plasticity):
    teaches = "mirrors"
    kind: Literal["unregistered_mirroring"] = "unregistered_mirroring"


class UnregisteredPlasticity(Plasticity):
    kind: Literal["unregistered"] = "unregistered"


def refused(wiring: Wiring, error: type[CompileError], match: str) -> None:
    with pytest.raises(error, match=match):
        compile(network(6, 8, 4), wiring, batch())


def in_place(value: Tensor) -> Tensor:
    return value.mul_(2.0)


# ------------------------------------------------------------------------------------------------ synapses


@pytest.mark.parametrize(
    ("sent", "match"),
    [
        (lambda E, e, source, target: e, r"'odd' of edge 'output->1' gives the displacement of shape \[5, 4\].*Return.*\[5, 8\]"),
        (lambda E, e, source, target: None, r"gives a NoneType. Return the displacement as a tensor of shape \[5, 8\]"),
        (lambda E, e, source, target: torch.zeros(target.shape, dtype=torch.float32), r"of torch.float32. Return.*torch.float64"),
        (lambda E, e, source, target: e @ E.reshape(2, 2), r"raised RuntimeError.*It carries an error \[5, 4\] over E \[4\] to d of shape \[5, 8\]"),
        (lambda E, e, source, target: in_place(e), "changes a tensor in place"),
        (lambda E, e, source, target: e if e.sum() > 0 else -e, "looks at numbers .*torch.where"),
        (lambda E, e, source, target: e * float(e.max()), "looks at numbers"),
    ],
    ids=["shape", "no tensor", "dtype", "raises", "in place", "branch", "float"],
)  # fmt: skip
def test_a_wrong_transmission(sent: Callable[..., Any], match: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OddOperator, "sent", staticmethod(sent))
    refused(dfa().but(synapse=Odd()), EdgeError, match)


@pytest.mark.parametrize("sized", [None, (2.5,), (-1,), "48"], ids=str)
def test_a_wrong_shape(sized: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OddOperator, "sized", sized)
    refused(dfa().but(synapse=Odd()), EdgeError, "operator of synapse 'odd' from 'output' to '1' gives the shape .*whole numbers")


@pytest.mark.parametrize(
    ("started", "match"),
    [
        (lambda shape, generator: torch.zeros(3), r"'output->1' gives first values of E of shape \[3\]. Return.*\[4\]"),
        (lambda shape, generator: [0.0] * 4, "gives a list"),
        (lambda shape, generator: torch.zeros(shape, dtype=torch.int64), "torch.int64. Return .*floating"),
        (lambda shape, generator: 1 / 0, "raised ZeroDivisionError"),
    ],
    ids=["shape", "no tensor", "dtype", "raises"],
)  # fmt: skip
def test_wrong_first_values(started: Callable[..., Any], match: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OddOperator, "started", staticmethod(started))
    program = compile(network(6, 8, 4), dfa().but(synapse=Odd()), batch())
    with pytest.raises(EdgeError, match=match):
        program.start()


def test_what_learns_must_be_used() -> None:
    refused(
        dfa().but(synapse=Odd(), plasticity=Hebbian()), EdgeError, "'output->1' shall learn, but .* does not depend on its numbers"
    )


def test_a_relay_waits_for_the_value_that_it_reads() -> None:
    """Under a target signal everything else runs before the output is there."""

    class Reading(Synapse):
        kind: Literal["reading"] = "reading"

    @operator(Reading)
    class ReadingOperator(Relay):
        def shape(self, spec: Reading, source: Port, target: Port) -> tuple[int, ...]:
            return source.units, target.units

        def start(self, spec: Reading, shape: tuple[int, ...], source: Port, generator: torch.Generator) -> Tensor:
            return torch.ones(shape)

        def transmit(self, spec: Reading, synapse: Tensor, sender: Sender, source: Port, target: Port) -> Tensor:
            return sender.z @ synapse

    learner = learned(drtp().but(synapse=Reading()))
    model = network()
    x, _ = batch()
    z1 = torch.tanh(model[0](x)).detach()
    want = (model(x).detach().sum(1, keepdim=True) * (1 - z1**2)).mean(0)
    torch.testing.assert_close(learner.model[0].bias.grad, want)  # type: ignore[index]
    assert ReadingOperator


# ------------------------------------------------------------------------------------------------ credit


@pytest.mark.parametrize(
    ("made", "match"),
    [
        (lambda a: None, "'odd' at site '1' gives a NoneType. Return Credited"),
        (lambda a: Credited(a.h, a.displacement, []), "gives a Tensor for the credit. Return it as Flow"),
        (lambda a: Credited(Flow(a.h[:, :2]), a.displacement, []), r"the credit of shape \[5, 2\]. Return.*\[5, 8\]"),
        (lambda a: Credited(Flow(a.h.float()), a.displacement, []), "the credit of torch.float32. Return.*torch.float64"),
        (lambda a: Credited(a.displacement, Flow(a.h.sum(0)), []), "the error that the site sends of shape"),
        (lambda a: Credited(a.displacement, a.displacement, [a.h]), "gives 1 gradients for an activation with 0 parameters"),
        (lambda a: Credited(a.displacement, a.displacement, [], discrepancy=a.h.detach()), "discrepancy that is no single number"),
        (lambda a: Credited(a.displacement, a.displacement, [], target=a.h[0]), "the target's pre-activation of shape"),
        (lambda a: Credited(Flow(in_place(a.displacement.value)), a.displacement, []), "changes a tensor in place"),
        (lambda a: a.nothing, "raised AttributeError"),
        (lambda a: Credited(a.displacement.times(float(a.h.mean())), a.displacement, []), "looks at numbers"),
    ],
)  # fmt: skip
def test_a_wrong_credit(made: Callable[[Arrival], Any], match: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MADE, "credit", made)
    refused(dfa().but(credit=OddCredit()), CreditError, match)


# ------------------------------------------------------------------------------------------------ plasticity


@pytest.mark.parametrize(
    ("kind", "made", "match"),
    [
        ("post", lambda r: r.z, "'odd_post' of synapse 'output->1' gives a Tensor for the post-synaptic vector. Return it as Flow"),
        ("post", lambda r: Flow(r.z[0]), r"the post-synaptic vector of shape \[8\]. Return.*\[5, 8\]"),
        ("post", lambda r: Flow(in_place(r.z)), "changes a tensor in place"),
        ("learning", lambda e: 1.0, "'odd_learning' of synapse 'output->1' gives a float. Return the gradient dE"),
        ("learning", lambda e: e.synapse.T, r"the gradient dE of shape \[8, 4\]. Return.*\[4, 8\]"),
        ("learning", lambda e: e.synapse.long(), "the gradient dE of torch.int64"),
        ("learning", lambda e: e.descent(e.receiver.z), "does not depend on its numbers"),
        ("learning", lambda e: e.forward(e.sender.z), r"forward\(z\) gives the receiver's value of shape \[5, 4\]. Return.*\[5, 8\]"),
        ("learning", lambda e: e.outer(e.receiver.z), "raised AttributeError"),
    ],
)  # fmt: skip
def test_a_wrong_plasticity(kind: str, made: Callable[[Any], Any], match: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MADE, kind, made)
    refused(dfa().but(plasticity=OddPost() if kind == "post" else OddLearning()), EdgeError, match)


@pytest.mark.parametrize(
    ("made", "match"),
    [
        (
            lambda m: m.update.plain(),
            r"'odd_mirroring' of mirror 'mirror:2.weight' gives a Tensor for the gradient dB. Return it as Flow",
        ),
        (lambda m: Flow(m.mirror[:1]), r"the gradient dB of shape \[1, 8\]"),
        (lambda m: Flow(in_place(m.mirror)), "changes a tensor in place"),
        (lambda m: m.weight, "raised AttributeError"),
    ],
)
def test_a_wrong_plasticity_of_mirrors(made: Callable[[Mirroring], Any], match: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MADE, "mirroring", made)
    refused(fa().but(plasticity=OddMirroring()), EdgeError, match)


def test_a_function_for_mirrors_belongs_to_a_plasticity_that_says_so() -> None:
    with pytest.raises(EdgeError, match=r"OddPost teaches 'own'. Write teaches = 'mirrors' into its class"):
        mirroring(OddPost)


def test_a_plasticity_that_teaches_no_mirror() -> None:
    with pytest.raises(InvalidWiring, match=r"'odd_post' needs an edge's own synapse. Use Dense\(\)"):
        fa().but(plasticity=OddPost())


# ------------------------------------------------------------------------------------------------ topologies, and what is missing


@pytest.mark.parametrize(
    ("made", "match"),
    [
        (lambda site: "output", "Topology 'odd', asked for site '1', answers 'output'. Return a tuple of wiring.Edge"),
        (lambda site: (Edge(source="7", target=site),), "names '7', which is no site. Sites: 1, output"),
        (lambda site: (Edge(source="output", target="output"),), "draws an edge into 'output'"),
        (lambda site: [][0], "raised IndexError.*Return a tuple of sites"),
        (lambda site: (Edge(source=site, target=site),), "sends errors in a circle"),
    ],
)
def test_a_wrong_topology(made: Callable[[str], Any], match: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Edge is Drawn
    monkeypatch.setitem(MADE, "topology", made)
    refused(dfa().but(topology=OddTopology()), EdgeError, match)


@pytest.mark.parametrize(
    ("wiring", "error", "match"),
    [
        (dfa().but(synapse=Unregistered()), EdgeError, r"Unregistered has no transmission operator. Register one with @operator\(Unreg"),
        (dfa().but(credit=UnregisteredCredit()), CreditError, r"has no function. Register one with @crediting\(UnregisteredCredit\)"),
        (dfa().but(plasticity=UnregisteredPlasticity()), EdgeError, r"Register one with @post\(UnregisteredPlasticity\) or @learning"),
        (fa().but(plasticity=UnregisteredMirroring()), EdgeError, r"no function for mirrors. Register one with @mirroring\(UnregisteredM"),
        (dfa().but(topology=Unanswered()), EdgeError, "Unanswered must define senders"),
    ],
)  # fmt: skip
def test_a_word_without_a_function(wiring: Wiring, error: type[CompileError], match: str) -> None:
    refused(wiring, error, match)


@pytest.mark.parametrize(
    "register",
    [
        lambda: operator(Dense)(OddOperator),
        lambda: crediting(OddCredit)(odd_credit),
        lambda: post(OddPost)(odd_post),
        lambda: learning(OddPost)(odd_learning),
        lambda: mirroring(KolenPollack)(odd_mirroring),
    ],
)
def test_a_second_function_is_refused(register: Callable[[], Any]) -> None:
    with pytest.raises(CompileError, match="already"):
        register()
