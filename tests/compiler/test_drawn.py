"""Edges drawn by hand: none is lost, and each learns or is refused; patterns that stand for groups name some."""

import re
from typing import Any

import pytest
import torch
from extending_case import batch, grads, network

from compiler import EdgeError, SiteError, compile
from compiler.errorgraph import ErrorGraph
from runtime import Learner
from wiring import (
    OUTPUT,
    ByShape,
    Dense,
    DirectKolenPollack,
    Edge,
    ErrorKernel,
    Explicit,
    Fixed,
    Hebbian,
    KolenPollack,
    Mirror,
    NoiseMirror,
    Pairwise,
    Rule,
    Wiring,
    bp,
    mix,
    parse_wiring,
)
from wiring.spec import Plasticity, Synapse

CHAIN = (Edge(source=OUTPUT, target="5"), Edge(source="5", target="3"), Edge(source="3", target="1"))


def drawn(*edges: Edge, at: str = "*", **fields: Any) -> Rule:
    return Rule(at=at, topology=Explicit(edges=edges), **({"synapse": Dense()} | fields))


def errors(*rules: Rule) -> ErrorGraph:
    return compile(network(), Wiring(name="mine", rules=rules), batch()).plan.errors


# ------------------------------------------------------------------------------------------------ no edge is lost


def test_an_edge_into_a_site_of_another_rule_is_refused() -> None:
    first = drawn(Edge(source=OUTPUT, target="1"), Edge(source=OUTPUT, target="3"), at="1")
    said = "'output' -> '3' in its rule for '1', but what '3' hears is said by the rule for '*', so the edge would be lost"
    with pytest.raises(EdgeError, match=re.escape(said)):
        errors(first, Rule(topology=Pairwise(), synapse=Dense()))
    with pytest.raises(EdgeError, match="so the edge would be lost"):
        errors(first, drawn(*CHAIN))


def test_rules_may_share_what_is_drawn() -> None:
    found = errors(drawn(*CHAIN, at="1"), drawn(*CHAIN, plasticity=Hebbian()))
    assert {site: edge.plasticity.kind for site, (edge,) in found.edges.items()} == {"1": "fixed", "3": "hebbian", "5": "hebbian"}


def test_an_edge_that_two_rules_draw_with_another_synapse_is_refused() -> None:
    other = (Edge(source=OUTPUT, target="5", synapse=Dense(), plasticity=Hebbian()), *CHAIN[1:])
    with pytest.raises(EdgeError, match=r"'output' -> '5' in its rule for '1'.*lost"):
        errors(drawn(*other, at="1"), drawn(*CHAIN))


# ------------------------------------------------------------------------------------------------ each edge learns


@pytest.mark.parametrize(
    ("synapse", "plasticity", "match"),
    [
        (Mirror(weights="forward"), KolenPollack(), r"'kolen_pollack' follows forward weights.*Mirror\(weights='random'\)"),
        (Mirror(weights="sign"), ErrorKernel(), "'error_kernel' follows forward weights"),
        (Dense(), KolenPollack(), "'kolen_pollack' follows forward weights"),
        (Dense(), NoiseMirror(), "'noise_mirror' follows forward weights"),
        (Mirror(), Hebbian(), "'hebbian' needs an edge's own synapse"),
        (ByShape(maps=Dense(), vectors=Mirror()), DirectKolenPollack(), "'direct_kolen_pollack' needs an edge's own synapse"),
    ],
)
def test_an_edge_with_a_plasticity_that_cannot_teach_it(synapse: Synapse, plasticity: Plasticity, match: str) -> None:
    own = Edge(source=OUTPUT, target="5", synapse=synapse, plasticity=plasticity)
    with pytest.raises(EdgeError, match=f"Edge 'output' -> '5' of wiring 'mine' would never learn: plasticity {match}") as caught:
        errors(drawn(own, *CHAIN[1:]))
    assert "its rule's" not in str(caught.value)


def test_a_plasticity_of_the_rule_must_suit_an_edges_own_synapse() -> None:
    own = Edge(source=OUTPUT, target="5", synapse=Mirror())
    with pytest.raises(
        EdgeError, match=r"'hebbian' needs.*Or give the edge plasticity=Fixed\(\), for the one that it has is its rule's"
    ):
        errors(drawn(own, *CHAIN[1:], plasticity=Hebbian()))
    found = errors(drawn(own.model_copy(update={"plasticity": Fixed()}), *CHAIN[1:], plasticity=Hebbian()))
    assert [found.edges[site][0].plasticity.kind for site in ("5", "3")] == ["fixed", "hebbian"]


def test_a_mirror_drawn_by_hand_learns_as_kolen_pollack() -> None:
    own = Edge(source=OUTPUT, target="5", synapse=Mirror(), plasticity=KolenPollack())
    learner = Learner(compile(network(), Wiring(name="mine", rules=(drawn(own, *CHAIN[1:]),)), batch()), backend="serial")
    learner.learn(*batch())
    mirror = learner.error_synapses()["mirror:6.weight"]
    assert mirror.grad is not None
    assert torch.equal(mirror.grad, grads(learner)["model.6.weight"])


# ------------------------------------------------------------------------------------------------ groups by pattern


@pytest.mark.parametrize("depth", [1, 2])
def test_a_pattern_of_levels_that_names_none(depth: int) -> None:
    with pytest.raises(SiteError, match=r"levels='stge\*' names no module that holds a site. Sites lie in: 1, 3, 5"):
        compile(network(), parse_wiring(f"rec_lra:depth={depth},topology.levels=stge*"), batch())
    hybrid = mix({"1": bp(), "*": parse_wiring("rec_lra:topology.levels=stge*").but(reprojection=None)})
    with pytest.raises(SiteError, match="levels="):
        compile(network(), hybrid, batch())


def test_a_pattern_of_levels_that_names_some() -> None:
    program = compile(network(), parse_wiring("rec_lra:topology.levels=[35]"), batch())
    assert {site: edge.source for site, (edge,) in program.plan.errors.edges.items()} == dict.fromkeys(("1", "3", "5"), OUTPUT)


def test_an_end_that_is_neither_site_nor_block_is_told() -> None:
    with pytest.raises(EdgeError, match=r"draws edge 'block' -> '3', but 'block' is no site. Sites: 1, 3, 5, output"):
        errors(drawn(Edge(source=OUTPUT, target="5"), Edge(source="block", target="3"), CHAIN[2]))
