"""Sites, blocks and error edges on the residual networks of the zoo, and wirings drawn by hand."""

import functools
from collections.abc import Callable, Mapping

import networkx as nx
import pytest
import torch
from architectures import CASES
from torch import Tensor, nn

from compiler import UpdateProgram, WiringWarning, compile
from compiler.errorgraph import ErrorGraph
from compiler.errors import SiteError
from compiler.example import Inputs
from compiler.pipeline import Source, plan
from runtime.learner import Learner
from wiring import (
    OUTPUT,
    Dense,
    Direct,
    Edge,
    Explicit,
    Fixed,
    Hebbian,
    Pairwise,
    Pointwise,
    Recursive,
    Rule,
    Sites,
    SiteStructure,
    Skip,
    Target,
    Wiring,
    bp,
    dfa,
    drtp,
    fa,
    mix,
    rec_lra,
)  # fmt: skip

RESIDUAL = ["resnet20", "preact_resnet", "wide_resnet_dropout", "bottleneck_resnet", "resnext", "se_resnet"]


@functools.cache
def graph(name: str, wiring: Wiring) -> ErrorGraph:
    """The error graph of a network of the zoo, without tracing a step."""
    case = CASES[name]
    torch.manual_seed(0)
    return plan(Source(case.build(), wiring, case.loss, None, None), Inputs(case.inputs()), case.labels()).errors


def senders(errors: ErrorGraph) -> dict[str, list[str]]:
    return {site: [edge.source for edge in edges] for site, edges in errors.edges.items()}


def groups(level: Mapping[str, str]) -> dict[str, list[str]]:
    """Sites by group."""
    return {group: [site for site in level if level[site] == group] for group in level.values()}


def resnet20_block(stage: int, block: int) -> list[str]:
    return [f"layer{stage}.{block}.relu", f"layer{stage}.{block}.relu:2"]


# The sites of each block, its output last, in topological order; outside blocks under "".
BLOCKS: dict[str, dict[str, list[str]]] = {
    "resnet20": {"": ["relu"]} | {f"layer{s}.{b}": resnet20_block(s, b) for s in (1, 2, 3) for b in range(3)},
    "preact_resnet": {**{n: [f"{n}.relu", f"{n}.relu:2", f"{n}.add"] for n in "123"}, "": ["5"]},
    "wide_resnet_dropout": {**{n: [f"{n}.relu", f"{n}.relu:2", f"{n}.add"] for n in "123"}, "": ["5"]},
    "bottleneck_resnet": {"": ["2"], **{n: [f"{n}.relu", f"{n}.relu:2", f"{n}.relu:3"] for n in "345"}},
    "resnext": {"": ["2"], **{n: [f"{n}.relu", f"{n}.relu:2", f"{n}.relu:3"] for n in "345"}},
    "se_resnet": {"": ["2"], **{n: [f"{n}.residual.2", f"{n}.fc.1", f"{n}.relu"] for n in "345"}},
}


# ------------------------------------------------------------------------------------------------ sites and blocks


@pytest.mark.parametrize("name", RESIDUAL)
def test_sites_and_blocks_have_the_users_module_names(name: str) -> None:
    structure = graph(name, bp()).structure
    assert list(structure.sites) == [site for sites in BLOCKS[name].values() for site in sites]
    assert groups(structure.levels[0]) == {block: sites for block, sites in BLOCKS[name].items() if block}


def test_stages_are_the_level_above_blocks() -> None:
    levels = graph("resnet20", bp()).structure.levels
    assert len(levels) == 2
    assert groups(levels[1]) == {f"layer{s}": [site for b in range(3) for site in resnet20_block(s, b)] for s in (1, 2, 3)}


def test_two_residual_sums_in_one_module_are_two_blocks_in_one_group() -> None:
    structure = graph("vit", bp()).structure
    first, second, *_ = structure.levels
    assert groups(first)["blocks.0.add:2"] == ["blocks.0.mlp.1", "blocks.0.add:2"]
    assert groups(first)["blocks.0.add"] == ["blocks.0.add"]
    assert groups(second)["blocks.0"] == ["blocks.0.add", "blocks.0.mlp.1", "blocks.0.add:2"]


@pytest.mark.parametrize(
    ("name", "sites"),
    [
        ("mlp", ["tanh", "tanh:2"]),
        ("lenet", ["relu", "relu:2", "relu:3"]),
        ("vgg_bn", ["features.2", "features.6", "features.9", "classifier.1"]),
        ("tied_layers", ["relu", "relu:2", "relu:3", "tanh"]),
        ("swish", ["silu", "silu:2"]),
        ("mobilenet_v2", ["0.2", "1.conv.2", "1.conv.5", "1.add", "2.conv.2", "2.conv.5", "3.conv.2", "3.conv.5", "3.add", "6"]),
        ("vit", ["blocks.0.add", "blocks.0.mlp.1", "blocks.0.add:2", "blocks.1.add", "blocks.1.mlp.1", "blocks.1.add:2"]),
    ],
)  # fmt: skip
def test_names_of_sites(name: str, sites: list[str]) -> None:
    """A module's path where the module is the activation, else path and operator; ``:2`` for the second use."""
    assert list(graph(name, bp()).structure.sites) == sites


def test_gates_and_softmax_are_no_sites() -> None:
    assert not [site for site in graph("se_resnet", bp()).structure.sites if "sigmoid" in site or site.endswith("fc.3")]
    assert not [site for site in graph("vit", bp()).structure.sites if "softmax" in site]


def test_what_several_regions_read_is_a_junction() -> None:
    """A DenseNet's concatenations: the value of one layer flows to every later layer of its block and to the transition."""
    errors = graph("densenet", bp())
    heads = [region.name for region in errors.parts.regions.values()]
    assert sum(head.startswith("junction:cat") for head in heads) == 3
    assert senders(errors) == {
        "block1.0.relu": ["block1.1.relu", "block1.2.relu", "transition.1"],
        "block1.1.relu": ["block1.2.relu", "transition.1"],
        "block1.2.relu": ["transition.1"],
        "transition.1": ["block2.0.relu", "block2.1.relu", "relu"],
        "block2.0.relu": ["block2.1.relu", "relu"],
        "block2.1.relu": ["relu"],
        "relu": [OUTPUT],
    }


@pytest.mark.parametrize("name", ["densenet", "preact_resnet", "inception", "mobilenet_v2", "unrolled_gru"])
def test_every_carrier_belongs_to_one_region_and_every_parameter_to_some(name: str) -> None:
    errors = graph(name, bp())
    owned = [node for region in errors.parts.regions.values() for node in region.nodes]
    assert len(owned) == len(set(owned))
    read = {name for region in errors.parts.regions.values() for name in region.parameters}
    assert read == errors.flow.trainable


def structure(model: nn.Module, *inputs: Tensor) -> SiteStructure:
    """What a topology may ask about a model with five classes."""
    labels = torch.randint(5, (inputs[0].shape[0],))
    return plan(Source(model, bp(), nn.functional.cross_entropy, None, None), Inputs(inputs), labels).errors.structure


class Block(nn.Module):
    """``x + branch(norm(x))`` with what transformers, rotary embeddings and stochastic depth add to it."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.norm, self.qkv, self.proj = nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8)
        self.up, self.act, self.down = nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8)

    def attend(self, x: Tensor, mask: Tensor | None) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        if self.kind == "rotary":
            cosine, sine = torch.linspace(0, 1, 4).cos(), torch.linspace(0, 1, 4).sin()
            q, k = (
                torch.cat([a * cosine - b * sine, a * sine + b * cosine], -1) for a, b in ((t[..., :4], t[..., 4:]) for t in (q, k))
            )
        scores = q @ k.transpose(1, 2)
        if mask is not None:
            scores = scores.masked_fill(mask[:, None, :], -1e9)
        mixed: Tensor = self.proj(scores.softmax(-1) @ v)
        return mixed

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        branch = self.attend(x, mask)
        if self.kind == "stochastic depth":
            branch = branch * (torch.rand(x.shape[0], 1, 1) < 0.8) / 0.8
        x = x + branch
        return x + self.down(self.act(self.up(x)))


class Transformer(nn.Module):
    """Two blocks on embedded tokens; pads are 0."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.embedding, self.head = nn.Linear(6, 8), nn.Linear(8, 5)
        self.blocks = nn.ModuleList([Block(kind), Block(kind)])

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = self.embedding(x)
        for block in self.blocks:
            x = block(x, mask)
        logits: Tensor = self.head(x.mean(1))
        return logits


TRANSFORMER = tuple(f"blocks.{n}.{site}" for n in (0, 1) for site in ("add", "act", "add:2"))


def test_the_sites_of_a_transformer() -> None:
    assert structure(Transformer("plain"), torch.randn(4, 7, 6)).sites == TRANSFORMER


def test_an_attention_mask_among_the_inputs_hides_no_block() -> None:
    assert structure(Transformer("masked"), torch.randn(4, 7, 6), torch.zeros(4, 7, dtype=torch.bool)).sites == TRANSFORMER


def test_stochastic_depth_hides_no_block() -> None:
    assert structure(Transformer("stochastic depth"), torch.randn(4, 7, 6)).sites == TRANSFORMER


def test_rotary_embeddings_are_no_residual_sums() -> None:
    assert structure(Transformer("rotary"), torch.randn(4, 7, 6)).sites == TRANSFORMER


class Leading(nn.Module):
    """An activation whose value only leaves the graph of gradients, as a statistic or a straight-through estimator."""

    def __init__(self, write: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second, self.head, self.write = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 5), write

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(torch.relu(self.second(self.write(self.first(x)))))
        return logits


@pytest.mark.parametrize(
    "write",
    [
        lambda x: x * torch.sigmoid(x).detach(),
        lambda x: x + (torch.sign(x) - x).detach(),
        lambda x: x + (torch.tanh(x) - x).detach(),
    ],
    ids=["detached gate", "straight-through sign", "straight-through tanh"],
)
def test_an_activation_that_no_gradient_leaves_is_no_site(write: Callable[[Tensor], Tensor]) -> None:
    assert structure(Leading(write), torch.randn(4, 6)).sites == ("relu",)


# ------------------------------------------------------------------------------------------------ recursion


@pytest.mark.parametrize("name", RESIDUAL)
def test_depth_1_sends_to_block_outputs_which_alone_are_sites(name: str) -> None:
    heard = senders(graph(name, rec_lra(depth=1)))
    ends = [site for block, sites in BLOCKS[name].items() for site in (sites if block == "" else sites[-1:])]
    assert heard == {site: [OUTPUT] for site in ends}


@pytest.mark.parametrize("name", RESIDUAL)
def test_depth_2_sends_from_each_block_output_to_what_is_inside(name: str) -> None:
    want = {}
    for block, sites in BLOCKS[name].items():
        for site in sites:
            want[site] = [OUTPUT] if block == "" or site == sites[-1] else [sites[-1]]
    assert senders(graph(name, rec_lra(depth=2))) == want


def test_depth_3_puts_stages_between() -> None:
    want = {"relu": [OUTPUT]}
    for stage in (1, 2, 3):
        for block in range(3):
            inner, out = resnet20_block(stage, block)
            want[inner] = [out]
            want[out] = [OUTPUT] if block == 2 else [resnet20_block(stage, 2)[1]]
    assert senders(graph("resnet20", rec_lra(depth=3))) == want


def test_more_depth_than_nesting_changes_nothing() -> None:
    assert senders(graph("resnet20", rec_lra(depth=7))) == senders(graph("resnet20", rec_lra(depth=3)))
    assert senders(graph("se_resnet", rec_lra(depth=3))) == senders(graph("se_resnet", rec_lra(depth=2)))


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("name", [*RESIDUAL, "vit", "convnext"])
def test_every_site_is_reached_once_in_at_most_depth_edges(name: str, depth: int) -> None:
    heard = senders(graph(name, rec_lra(depth=depth)))
    assert all(len(sources) == 1 for sources in heard.values())
    tree = nx.DiGraph((source, site) for site, sources in heard.items() for source in sources)
    distances = nx.single_source_shortest_path_length(tree, OUTPUT)
    assert set(distances) == {OUTPUT, *heard}
    assert max(distances.values()) <= depth


def test_blocks_by_pattern_replace_the_ones_found() -> None:
    wiring = rec_lra(depth=2).model_copy(update={"sites": Sites(blocks=("layer?",))})
    errors = graph("resnet20", wiring)
    assert set(groups(errors.structure.levels[0])) == {"layer1", "layer2", "layer3"}
    heard = senders(errors)
    assert heard["layer1.0.relu"] == heard["layer1.1.relu:2"] == ["layer1.2.relu:2"]
    assert heard["layer1.2.relu:2"] == heard["relu"] == [OUTPUT]


def test_blocks_by_pattern_on_a_chain_without_residual_sums() -> None:
    wiring = rec_lra(depth=2).model_copy(update={"sites": Sites(blocks=("features", "classifier"))})
    assert senders(graph("vgg_bn", wiring)) == {
        "features.2": ["features.9"], "features.6": ["features.9"], "features.9": [OUTPUT], "classifier.1": [OUTPUT],
    }  # fmt: skip


def test_levels_by_pattern() -> None:
    topology = Recursive(depth=3, levels=("layer?", "layer?.?"))
    wiring = rec_lra().model_copy(update={"rules": (rec_lra().rules[0].model_copy(update={"topology": topology}),)})
    assert senders(graph("resnet20", wiring)) == senders(graph("resnet20", rec_lra(depth=3)))


@pytest.mark.parametrize(
    ("levels", "told"),
    [
        (("layer?.?", "layer?"), r"levels='layer\?' stands behind 'layer\?\.\?', but its group 'layer1' does not lie inside"),
        (("layer?", "layer*"), r"levels='layer\?' and 'layer\*' make the same groups"),
    ],
)
def test_levels_that_would_be_lost_are_refused(levels: tuple[str, ...], told: str) -> None:
    rule = rec_lra().rules[0].model_copy(update={"topology": Recursive(depth=3, levels=levels)})
    with pytest.raises(SiteError, match=told):
        graph("resnet20", rec_lra().model_copy(update={"rules": (rule,)}))


def test_depth_1_learns_the_interior_from_the_blocks_error() -> None:
    """The hybrid: an inner convolution's update is its local gradient from the block output's credit."""
    torch.manual_seed(0)
    case = CASES["bottleneck_resnet"]
    model = case.build()
    learner = Learner(compile(model, rec_lra(depth=1), (case.inputs(), case.labels())))
    learner.learn(case.inputs(), case.labels())
    assert model.get_parameter("4.conv1.weight").grad.abs().max() > 0
    assert set(learner.error_synapses()) == {"output->2", "output->3.relu:3", "output->4.relu:3", "output->5.relu:3"}


# ------------------------------------------------------------------------------------------------ skip


@pytest.mark.parametrize("name", ["vgg_bn", "resnet20", "densenet"])
def test_gap_1_is_pairwise(name: str) -> None:
    assert senders(graph(name, rec_lra(gap=1))) == senders(graph(name, bp()))


def test_gap_2_sends_the_output_to_every_second_site() -> None:
    assert senders(graph("vgg_bn", rec_lra(gap=2))) == {
        "features.2": ["features.6"], "features.6": [OUTPUT], "features.9": ["classifier.1"], "classifier.1": [OUTPUT],
    }  # fmt: skip


def test_edges_know_whether_they_skip() -> None:
    kinds = {site: [edge.kind for edge in edges] for site, edges in graph("vgg_bn", rec_lra(gap=2)).edges.items()}
    assert kinds == {"features.2": ["adjacent"], "features.6": ["skip"], "features.9": ["adjacent"], "classifier.1": ["adjacent"]}


# ------------------------------------------------------------------------------------------------ mixtures and sites


def test_a_mixture_takes_the_first_rule_that_fits() -> None:
    errors = graph("vgg_bn", mix({"features.*": dfa(), "*": bp()}))
    assert senders(errors) == {
        "features.2": [OUTPUT], "features.6": [OUTPUT], "features.9": [OUTPUT], "classifier.1": [OUTPUT],
    }  # fmt: skip
    assert {site: type(edges[0].synapse).__name__ for site, edges in errors.edges.items()} == {
        "features.2": "Dense", "features.6": "Dense", "features.9": "Dense", "classifier.1": "Mirror",
    }  # fmt: skip
    assert set(errors.parameters) == {f"output->features.{n}" for n in (2, 6, 9)}


def test_a_mixture_gives_each_part_its_own_updates() -> None:
    """In front of a BP classifier, DFA convolutions: the classifier learns as under BP, the convolutions do not."""
    case = CASES["vgg_bn"]
    models = []
    for wiring in (mix({"features.*": dfa(), "*": bp()}), bp()):
        torch.manual_seed(0)
        models.append(case.build())
        Learner(compile(models[-1], wiring, (case.inputs(), case.labels()))).learn(case.inputs(), case.labels())
    mixed, pure = ({name: p.grad for name, p in model.named_parameters()} for model in models)
    for name in ("classifier.0.weight", "classifier.2.weight"):
        torch.testing.assert_close(mixed[name], pure[name])
    assert (mixed["features.0.weight"] - pure["features.0.weight"]).norm() > 0.1 * pure["features.0.weight"].norm()


def test_targets_for_the_dense_layers_only() -> None:
    with pytest.warns(WiringWarning, match=r"targets to 'relu:3' \(relu\)"):
        errors = graph("lenet", mix({"relu:3": drtp(), "*": fa()}))
    assert [errors.rules[site].signal for site in errors.sites] == ["error", "error", "target"]
    assert senders(errors) == {"relu": ["relu:2"], "relu:2": ["relu:3"], "relu:3": [OUTPUT]}


def test_include_exclude_and_modules_choose_sites() -> None:
    wiring = dfa().model_copy(update={"sites": Sites(include=("layer*",), exclude=("*:2",), modules=("layer1",))})
    sites = graph("resnet20", wiring).structure.sites
    assert "relu" not in sites
    assert not [site for site in sites if site.endswith(":2") and not site.startswith("layer1.2")]
    assert "layer2.0.relu" in sites


def test_modules_become_sites_where_nothing_else_is() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 5))
    wiring = dfa().model_copy(update={"sites": Sites(modules=("1",))})
    program = compile(model, wiring, (torch.randn(4, 6), torch.randint(5, (4,))))
    assert program.plan.errors.structure.sites == ("1",)
    learner = Learner(program)
    learner.learn(torch.randn(4, 6), torch.randint(5, (4,)))
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in model.parameters())


# ------------------------------------------------------------------------------------------------ drawn by hand


def hand_drawn() -> Wiring:
    """Ten lines: the output to two blocks by their module paths, one block to another, everything else as given."""
    edges = (
        Edge(source="output", target="2"),
        Edge(source="output", target="5", synapse=Dense()),
        Edge(source="5", target="4", synapse=Pointwise(), plasticity=Hebbian(post="error", sign=-1)),
        Edge(source="output", target="4"),
        Edge(source="4", target="3", synapse=Pointwise()),
    )
    rule = Rule(topology=Explicit(edges=edges), synapse=Dense(), credit=Target(beta=0.1), plasticity=Fixed())
    sites = Sites(include=("2", "*.relu:3"))
    return Wiring(name="mine", rules=(rule,), sites=sites)


def test_a_wiring_drawn_by_hand_names_blocks_by_their_modules() -> None:
    errors = graph("bottleneck_resnet", hand_drawn())
    assert senders(errors) == {
        "2": [OUTPUT], "3.relu:3": ["4.relu:3"], "4.relu:3": ["5.relu:3", OUTPUT], "5.relu:3": [OUTPUT],
    }  # fmt: skip
    shapes = {name: parameter.shape for name, parameter in errors.parameters.items()}
    assert shapes == {
        "output->2": (5, 8, 8, 8), "output->5.relu:3": (5, 16, 4, 4), "5.relu:3->4.relu:3": (16, 16),
        "output->4.relu:3": (5, 16, 8, 8), "4.relu:3->3.relu:3": (16, 16),
    }  # fmt: skip
    assert [name for name, parameter in errors.parameters.items() if parameter.learns] == ["5.relu:3->4.relu:3"]


def test_a_wiring_drawn_by_hand_learns() -> None:
    case = CASES["bottleneck_resnet"]
    torch.manual_seed(0)
    model = case.build()
    learner = Learner(compile(model, hand_drawn(), (case.inputs(), case.labels())))
    optimizer = torch.optim.Adam(learner.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        losses.append(learner.learn(case.inputs(), case.labels()).loss.item())
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < 0.7 * losses[0]


def test_two_edges_into_a_site_add_up() -> None:
    """``d = e1 E1 + e2 E2``: with a linear credit, the update under both edges is the sum of the updates under each."""

    def update(*edges: Edge) -> Tensor:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 5)).double()
        every = (*edges, Edge(source="output", target="3"))
        wiring = Wiring(name="mine", rules=(Rule(topology=Explicit(edges=every), synapse=Dense()),))
        x, y = torch.randn(4, 6).double(), torch.randint(5, (4,))
        Learner(compile(model, wiring, (x, y))).learn(x, y)
        grad = model[0].weight.grad
        assert grad is not None
        return grad

    far, near = Edge(source="output", target="1"), Edge(source="3", target="1")
    torch.testing.assert_close(update(far, near), update(far) + update(near))


@pytest.mark.parametrize("topology", [Pairwise(), Direct(), Skip(gap=2), Recursive(depth=2)])
def test_edges_given_by_a_topology_or_by_hand_make_the_same_program(topology: Pairwise | Direct | Skip | Recursive) -> None:
    case = CASES["lenet"]

    def step(wiring: Wiring) -> tuple[UpdateProgram, list[Tensor | None]]:
        torch.manual_seed(0)
        model = case.build()
        program = compile(model, wiring, (case.inputs(), case.labels()))
        Learner(program).learn(case.inputs(), case.labels())
        return program, [parameter.grad for parameter in model.parameters()]

    rule = Rule(topology=topology, synapse=Dense(), credit=Target(), plasticity=Hebbian())
    program, given = step(Wiring(name="given", rules=(rule,)))
    edges = tuple(Edge(source=e.source, target=e.target) for arriving in program.plan.errors.edges.values() for e in arriving)
    _, drawn = step(Wiring(name="drawn", rules=(rule.model_copy(update={"topology": Explicit(edges=edges)}),)))
    for one, other in zip(given, drawn, strict=True):
        torch.testing.assert_close(one, other)
