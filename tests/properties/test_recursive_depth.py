"""Recursive wirings reach every site exactly once, over at most ``depth`` edges; their edge cases are the other topologies."""

import networkx as nx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from compiler.errorgraph import ErrorGraph
from compiler.example import Inputs
from compiler.pipeline import Source, plan
from runtime.models import build_model
from wiring import OUTPUT, Direct, Pairwise, Recursive, Sites, SiteStructure, Skip, Wiring, dfa, rec_lra
from wiring.topology import Topology

Senders = dict[str, tuple[str, ...]]

# ------------------------------------------------------------------------------------------------ drawn structures


@st.composite
def structures(draw: st.DrawFn) -> SiteStructure:
    """Up to 12 sites in nested modules, in any order: a group need not be a stretch of the order. A level may leave sites out."""
    steps = st.lists(st.sampled_from("ab"), min_size=1, max_size=4)
    modules = {f"s{number}": ".".join(path) for number, path in enumerate(draw(st.lists(steps, min_size=1, max_size=12)))}
    sites = tuple(modules)
    deepest = max(path.count(".") + 1 for path in modules.values())
    levels = []
    for length in range(deepest, 0, -1):
        inside = [site for site in sites if modules[site].count(".") + 1 >= length]
        left_out = draw(st.sets(st.sampled_from(sites), max_size=3))
        levels.append({site: ".".join(modules[site].split(".")[:length]) for site in inside if site not in left_out})
    return SiteStructure(sites, draw(forward_graphs(sites)), tuple(levels), modules)


@st.composite
def forward_graphs(draw: st.DrawFn, sites: tuple[str, ...]) -> nx.DiGraph:
    """Each site is read by the next one, or by some later ones."""
    graph = nx.DiGraph()
    ends = (*sites, OUTPUT)
    for number, site in enumerate(sites):
        later = st.sampled_from(ends[number + 1 :])
        graph.add_edges_from((site, reader) for reader in draw(st.lists(later, min_size=1, max_size=3, unique=True)))
    return graph


def heard(structure: SiteStructure, topology: Topology) -> Senders:
    """The senders of every site that a topology keeps."""
    found = {site: topology.senders(site, structure) for site in structure.sites}
    return {site: senders for site, senders in found.items() if senders is not None}


def distances(senders: Senders) -> dict[str, int]:
    """Edges from the output to each site that it reaches."""
    tree = nx.DiGraph([(OUTPUT, OUTPUT)])
    tree.add_edges_from((source, site) for site, sources in senders.items() for source in sources)
    reached: dict[str, int] = nx.single_source_shortest_path_length(tree, OUTPUT)
    return {site: edges for site, edges in reached.items() if site != OUTPUT}


def assert_each_reached_once_within(depth: int, senders: Senders) -> None:
    assert all(len(sources) == 1 for sources in senders.values())
    assert set(distances(senders)) == set(senders)
    assert max(distances(senders).values()) <= depth


@given(structures(), st.integers(1, 6))
def test_every_site_of_nested_groups_is_reached_once_in_at_most_depth_edges(structure: SiteStructure, depth: int) -> None:
    senders = heard(structure, Recursive(depth=depth))
    assert_each_reached_once_within(depth, senders)
    assert depth == 1 or set(senders) == set(structure.sites)


@given(structures(), st.lists(st.sampled_from(["*", "?", "?.?", "a", "b.*", "*.a", "?.?.?", "[ab].a"]), min_size=1, max_size=4))
def test_groups_by_module_patterns_keep_the_depth_in_any_order(structure: SiteStructure, patterns: list[str]) -> None:
    """Modules nest by themselves, so even patterns from the inside out, or crossing ones, make no detour."""
    topology = Recursive(depth=len(patterns) + 1, levels=tuple(patterns))
    senders = heard(structure, topology)
    assert set(senders) == set(structure.sites)
    assert_each_reached_once_within(len(patterns) + 1, senders)


@given(structures())
def test_depth_1_keeps_what_leaves_a_block_or_lies_outside(structure: SiteStructure) -> None:
    blocks = structure.levels[0]
    kept = {site for site in structure.sites if site not in blocks or structure.closing(blocks, blocks[site]) == site}
    assert heard(structure, Recursive(depth=1)) == dict.fromkeys(kept, (OUTPUT,))


@given(structures(), st.integers(1, 5))
def test_one_more_depth_never_takes_a_site_nearer(structure: SiteStructure, depth: int) -> None:
    """A deeper wiring sends over what the shallower one had: once a level closes on a site, its sender stays."""
    shallow, deep = (heard(structure, Recursive(depth=d)) for d in (depth, depth + 1))
    nearer, farther = distances(shallow), distances(deep)
    assert all(farther[site] >= nearer[site] for site in shallow)
    if depth > 1:
        assert all(deep[site] == senders for site, senders in shallow.items() if senders != (OUTPUT,))


@given(structures())
def test_depth_1_with_one_block_per_layer_is_direct_to_all(structure: SiteStructure) -> None:
    alone = SiteStructure(structure.sites, structure.forward, ({site: site for site in structure.sites},), structure.modules)
    assert heard(alone, Recursive(depth=1)) == heard(alone, Direct()) == dict.fromkeys(structure.sites, (OUTPUT,))


@given(structures())
def test_gap_1_is_pairwise(structure: SiteStructure) -> None:
    assert heard(structure, Skip(gap=1)) == heard(structure, Pairwise())


@given(structures(), st.integers(2, 6))
def test_a_gap_brings_the_output_to_every_site_of_a_chain_within_gap_edges(structure: SiteStructure, gap: int) -> None:
    chain = SiteStructure(
        structure.sites, nx.path_graph([*structure.sites, OUTPUT], nx.DiGraph), structure.levels, structure.modules
    )
    assert_each_reached_once_within(gap, heard(chain, Skip(gap=gap)))


# ------------------------------------------------------------------------------------------------ where groups cross


def test_crossing_groups_make_detours_longer_than_depth() -> None:
    """Why levels must nest. The smallest that do not: block ``B`` leaves module ``inner`` by its closing site, so the errors of
    ``inner`` go round by ``outer``. The compiler makes no such levels."""
    sites = ("s", "c", "w", "u")
    levels = ({"c": "B", "w": "B"}, {"s": "inner", "c": "inner", "w": "outer", "u": "outer"})
    structure = SiteStructure(sites, nx.path_graph([*sites, OUTPUT], nx.DiGraph), levels, {site: site for site in sites})
    senders = heard(structure, Recursive(depth=3))
    assert senders == {"s": ("c",), "c": ("w",), "w": ("u",), "u": (OUTPUT,)}
    assert distances(senders)["s"] == 4


class Residual(nn.Module):
    """``x + tanh(lin(x))``."""

    def __init__(self) -> None:
        super().__init__()
        self.lin, self.act = nn.Linear(4, 4), nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = x + self.act(self.lin(x))
        return total


class Join(nn.Module):
    """``x + lin(y)``: closes a block whose inside was computed elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(4, 4)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        total: Tensor = x + self.lin(y)
        return total


class Entangled(nn.Module):
    """The block that ``outer.join`` closes holds ``inner.act``, which the module ``inner`` holds too."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(4, 4), nn.Linear(4, 3)
        self.inner = nn.ModuleDict({"block": Residual(), "lin": nn.Linear(4, 4), "act": nn.Tanh()})
        self.outer = nn.ModuleDict({"join": Join()})

    def forward(self, x: Tensor) -> Tensor:
        x = self.inner["block"](self.stem(x))
        logits: Tensor = self.head(self.outer["join"](x, self.inner["act"](self.inner["lin"](x))))
        return logits


def test_a_block_that_spans_modules_falls_to_the_module_that_closes_it() -> None:
    for depth in (2, 3):
        assert_each_reached_once_within(depth, edges_of(Entangled(), rec_lra(depth=depth), torch.randn(2, 4)))
    senders = edges_of(Entangled(), rec_lra(depth=3), torch.randn(2, 4))
    assert distances(senders) == {"outer.join.add": 1, "inner.act": 2, "inner.block.add": 1, "inner.block.act": 2}


# ------------------------------------------------------------------------------------------------ models


def errors_of(model: nn.Module, wiring: Wiring, x: Tensor) -> ErrorGraph:
    """The error graph of a model with three classes, without tracing a step."""
    source = Source(model, wiring, cross_entropy, None, None)
    return plan(source, Inputs.of(x), torch.randint(3, (len(x),))).errors


def edges_of(model: nn.Module, wiring: Wiring, x: Tensor) -> Senders:
    return {site: tuple(edge.source for edge in edges) for site, edges in errors_of(model, wiring, x).edges.items()}


@pytest.mark.parametrize("name", ["resnet14:width=4", "resnet18", "preact_resnet18", "wide_resnet:depth=16,widen=1"])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_resnets_are_reached_once_in_at_most_depth_edges(name: str, depth: int) -> None:
    model = build_model(name, (3, 16, 16), 3)
    senders = edges_of(model, rec_lra(depth=depth), torch.randn(2, 3, 16, 16))
    assert_each_reached_once_within(depth, senders)
    assert max(distances(senders).values()) == depth


def test_a_chain_of_one_block_per_layer_at_depth_1_is_direct_feedback() -> None:
    model = build_model("mlp:width=4,depth=4", (5,), 3)
    blocks = rec_lra(depth=1).model_copy(update={"sites": Sites(blocks=("act?",))})
    x = torch.randn(2, 5)
    direct = edges_of(model, dfa(), x)
    assert edges_of(model, blocks, x) == edges_of(model, rec_lra(depth=1), x) == direct
    assert direct == {f"act{number}": (OUTPUT,) for number in (1, 2, 3, 4)}
