"""The language by itself: records, JSON, texts, mixtures, topologies on hand-made structures. No torch in here."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import wiring
from wiring import (
    OUTPUT,
    PRESETS,
    ByShape,
    Channelwise,
    Dense,
    Direct,
    DirectKolenPollack,
    Edge,
    Elastic,
    ErrorKernel,
    ErrorwireError,
    Explicit,
    Fixed,
    Frozen,
    GlorotUniform,
    Gradient,
    Hebbian,
    InvalidWiring,
    KaimingUniform,
    Kernel,
    KolenPollack,
    LikeForward,
    Mirror,
    Normal,
    OptionError,
    Pairwise,
    Pointwise,
    Recursive,
    Rule,
    Silent,
    Sites,
    SiteStructure,
    Skip,
    Sparse,
    Target,
    Wiring,
    WiringError,
    Zeros,
    bp,
    dfa,
    drtp,
    ekdaa,
    fa,
    mix,
    parse_wiring,
    rec_lra,
    sign_symmetry,
)  # fmt: skip

# ------------------------------------------------------------------------------------------------ drawn records

positive = st.floats(min_value=1e-6, max_value=1e6, allow_nan=False)
fraction = st.floats(min_value=0, max_value=1)
count = st.integers(min_value=1, max_value=9)
signs = st.sampled_from([1, -1])
names = st.text("abcdefgh.0123456789*", min_size=1, max_size=8)
inits = st.one_of(st.just(KaimingUniform()), st.just(GlorotUniform()), st.just(LikeForward()), st.builds(Normal, std=positive))
leaves = st.one_of(
    st.builds(Dense, init=inits),
    st.builds(Sparse, fan_in=count, init=inits),
    st.builds(Kernel, size=st.sampled_from([1, 3, 5, 7]), init=inits),
    st.builds(Pointwise, init=inits),
    st.builds(Channelwise, init=inits),
)
own = st.one_of(leaves, st.builds(ByShape, maps=leaves, vectors=leaves))
mirrors = st.builds(
    Mirror,
    weights=st.sampled_from(["forward", "random", "sign"]),
    magnitude=st.sampled_from(["constant", "fresh", "fixed"]),
    init=inits,
)
credits_ = st.one_of(
    st.builds(Gradient, surrogate=st.sampled_from(["straight_through", None])),
    st.builds(
        Target,
        beta=positive, derivative=st.booleans(), kappa=positive, p=positive, q=positive,
        elastic=st.one_of(st.none(), st.builds(Elastic, skip=fraction, adjacent=fraction)),
    ),
)  # fmt: skip
hebbian = st.builds(Hebbian, post=st.sampled_from(["displacement", "activity", "error"]), gamma=positive, sign=signs)
edges = st.builds(Edge, source=names, target=names, synapse=st.one_of(st.none(), own), plasticity=st.one_of(st.none(), hebbian))
grouped = st.lists(names, min_size=1, max_size=8).map(lambda levels: Recursive(depth=len(levels) + 1, levels=tuple(levels)))
spanning = st.one_of(st.just(Direct()), st.builds(Recursive, depth=count), grouped)
stepping = st.one_of(
    st.just(Pairwise()), st.builds(Skip, gap=count), st.builds(Explicit, edges=st.lists(edges, min_size=1, max_size=3).map(tuple))
)
common: dict[str, Any] = {
    "at": names, "signal": st.sampled_from(["error", "sign", "target"]), "reduction": st.sampled_from(["mean", "sum"]),
}  # fmt: skip
rules = st.one_of(
    st.builds(
        Rule,
        topology=st.one_of(spanning, stepping), synapse=own, credit=credits_,
        plasticity=st.one_of(st.just(Fixed()), st.just(DirectKolenPollack()), hebbian),
        **common,
    ),
    st.builds(Rule, topology=stepping, synapse=mirrors, credit=credits_, plasticity=st.just(Fixed()), **common),
    st.builds(
        Rule,
        topology=stepping, synapse=st.builds(Mirror, init=inits), credit=credits_,
        plasticity=st.one_of(st.just(KolenPollack()), st.builds(ErrorKernel, gamma=positive, sign=signs)),
        **common,
    ),
    st.builds(Rule, topology=st.just(Silent()), credit=st.just(Frozen()), **common),
)  # fmt: skip
patterns = st.lists(names, max_size=2).map(tuple)
wirings = st.builds(
    Wiring,
    name=st.text(min_size=1, max_size=10),
    rules=st.lists(rules, min_size=1, max_size=3).map(tuple),
    sites=st.builds(Sites, include=patterns, exclude=patterns, modules=patterns, blocks=patterns),
    reprojection=st.one_of(st.none(), positive),
    frozen=patterns,
)


@given(wirings)
def test_json_gives_the_wiring_back(drawn: Wiring) -> None:
    read = Wiring.from_json(drawn.to_json())
    assert read == drawn
    assert read.to_json() == drawn.to_json()
    assert hash(read) == hash(drawn)
    assert [type(rule.synapse) for rule in read.rules] == [type(rule.synapse) for rule in drawn.rules]


@given(wirings, st.text("xyz_", min_size=1, max_size=5))
def test_fields_that_it_does_not_know_are_refused(drawn: Wiring, name: str) -> None:
    for change in ({name: 1}, {"rules": [{**rule.model_dump(), name: 1} for rule in drawn.rules]}):
        with pytest.raises(ErrorwireError, match=name):
            Wiring(**{**drawn.model_dump(), **change})


@given(wirings)
def test_records_are_frozen(drawn: Wiring) -> None:
    for record, field in ((drawn, "name"), (drawn.rules[0], "at"), (drawn.rules[0].credit, "kind"), (drawn.sites, "blocks")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(record, field, "other")


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_goes_through_json_and_a_file(name: str, tmp_path: Path) -> None:
    preset = PRESETS[name]()
    assert preset.name == name
    assert Wiring.from_json(preset.to_json()) == preset
    (tmp_path / "mine.json").write_text(preset.to_json(), encoding="utf-8")
    assert parse_wiring(str(tmp_path / "mine.json")) == preset


def test_a_family_may_grow_words_elsewhere() -> None:
    """A synapse that another package defines is found by its kind, and must bring a kind of its own."""
    from typing import Literal

    from wiring.spec import Synapse

    class Elsewhere(Synapse):
        kind: Literal["elsewhere"] = "elsewhere"
        strength: float = 1.0

    drawn = Wiring(name="mine", rules=(Rule(topology=Direct(), synapse=Elsewhere(strength=2.0)),))
    assert Wiring.from_json(drawn.to_json()) == drawn


# ------------------------------------------------------------------------------------------------ what cannot be


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Kernel(size=4), "even size 4.*Use 5"),
        (lambda: Kernel(size=0), "size"),
        (lambda: Sparse(fan_in=0), "fan_in"),
        (lambda: Target(beta=0), "beta"),
        (lambda: Target(beta=float("nan")), "beta"),
        (lambda: Target(beta=float("inf")), "beta"),
        (lambda: Elastic(skip=1.5), "skip"),
        (lambda: Hebbian(sign=2), "sign"),
        (lambda: Hebbian(post="nothing"), "post"),
        (lambda: Recursive(depth=0), "depth"),
        (lambda: Recursive(depth=3, levels=("s?",)), r"depth=3 takes 2 patterns of levels, outermost first, and not 1: s\?. Give 2, or depth=2"),
        (lambda: Recursive(depth=1, levels=("a", "b")), "depth=1 takes one pattern.* and not 2: a, b. Give 1, or depth=3"),
        (lambda: Recursive(levels=()), "and not 0: none. Give 1, or levels=None"),
        (lambda: Skip(gap=0), "gap"),
        (lambda: Explicit(edges=()), "edges"),
        (lambda: Normal(std=-1.0), "std"),
        (lambda: Wiring(name="", rules=bp().rules), "name"),
        (lambda: Wiring(name="mine", rules=()), "rules"),
        (lambda: Wiring(name="mine", rules=bp().rules, reprojection=0.0), "reprojection"),
        (lambda: Rule(topology=Direct(), signal="noise"), "signal"),
        (lambda: Rule(topology="circular"), "unknown topology 'circular'. Known: .*pairwise"),
        (lambda: Rule(topology=3), "3 is no topology. Use one of: .*pairwise"),
        (lambda: Sparse(init="zeros"), "a sparse synapse of zeros would keep all of them"),
        (lambda: Rule(topology={"kind": "circular"}), "unknown topology 'circular'. Known: .*pairwise"),
        (lambda: Rule(topology=Dense()), "is no topology"),
        (lambda: Rule(topology=Direct(), synapse=Mirror()), "mirror.*'direct'.*Pairwise.*Dense"),
        (lambda: Rule(topology=Recursive(), synapse=Mirror()), "mirror.*'recursive'"),
        (lambda: Rule(topology=Pairwise(), plasticity=Hebbian()), "'hebbian'.*not Mirror"),
        (lambda: Rule(topology=Pairwise(), plasticity=DirectKolenPollack()), "'direct_kolen_pollack'.*not Mirror"),
        (lambda: Rule(topology=Direct(), synapse=Dense(), plasticity=ErrorKernel()), "'error_kernel'.*Mirror"),
        (lambda: Rule(topology=Pairwise(), synapse=Mirror(weights="forward"), plasticity=KolenPollack()), "weights='random'"),
        (lambda: Rule(topology=Silent()), "frozen credit and the silent topology"),
        (lambda: sign_symmetry("other"), "no form 'other'.*usf, brsf, frsf"),
    ],
)  # fmt: skip
def test_records_that_cannot_be(make: Any, words: str) -> None:
    with pytest.raises(ErrorwireError, match=words):
        make()


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"name": "mine"}', '{"name": "mine", "rules": [{}]}'])
def test_json_that_is_no_wiring(text: str) -> None:
    with pytest.raises(InvalidWiring, match="no wiring"):
        Wiring.from_json(text)


# ------------------------------------------------------------------------------------------------ texts


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("bp", bp()),
        ("rec_lra:depth=3", rec_lra(depth=3)),
        ("rec_lra:gap=2,beta=0.5,elastic=true", rec_lra(gap=2, beta=0.5, elastic=True)),
        ("rec_lra: depth = 2 , plasticity = displacement", rec_lra(depth=2, plasticity="displacement")),
        ("rec_lra:gap=none", rec_lra()),
        ("drtp:reduction=sum", drtp(reduction="sum")),
        ("ekdaa:beta=0.3,sign=-1", ekdaa(beta=0.3, sign=-1)),
        ("sign_symmetry:form=frsf", sign_symmetry("frsf")),
        ("dfa:", dfa()),
        ("dfa:frozen=conv*|bn*,sites.exclude=0.10", dfa().but(frozen=("conv*", "bn*"), sites__exclude=("0.10",))),
        ("rec_lra:depth=3,topology.levels=layer?|layer?.?", rec_lra(depth=3).but(topology__levels=("layer?", "layer?.?"))),
        ("rec_lra:topology.levels=none", rec_lra()),
        ("dfa:synapse.init=zeros", dfa().but(synapse__init=Zeros())),
        ("dfa:synapse.fan_in=2,synapse=sparse", dfa().but(synapse=Sparse(fan_in=2))),
        ("dfa:topology.kind=recursive,topology.levels=1", dfa().but(topology=Recursive(levels=("1",)))),
    ],
)
def test_texts_name_wirings(text: str, want: Wiring) -> None:
    assert parse_wiring(text) == want


def test_several_values_of_a_field_are_told_by_its_annotation() -> None:
    """Whatever package the word comes from, and whatever the values are."""
    from typing import Literal

    from wiring.spec import Synapse

    class Layered(Synapse):
        kind: Literal["layered"] = "layered"
        widths: tuple[int, ...]
        names: tuple[str, ...] | None = None
        text: str = ""

    def read(options: str) -> Synapse:
        return parse_wiring(f"dfa:synapse.kind=layered,{options}").rules[0].synapse

    assert read("synapse.widths=8|16,synapse.text=a|b") == Layered(widths=(8, 16), text="a|b")
    assert read("synapse.widths=8,synapse.names=1|two") == Layered(widths=(8,), names=("1", "two"))
    assert read("synapse.names=none,synapse.widths=8") == Layered(widths=(8,))
    with pytest.raises(InvalidWiring, match="widths"):
        read("synapse.widths=8|wide")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rec_lar", "No preset is called 'rec_lar'. Did you mean 'rec_lra'. Presets: bp, fa"),
        ("zzz", "No preset is called 'zzz'. Presets"),
        ("rec_lra:deep=2", "no option 'deep'. It takes: depth, gap"),
        ("dfa:depth=2", "no option 'depth'.*Every wiring takes: sites, reprojection"),
        ("rec_lra:depth", "'depth'.*key=value"),
        ("rec_lra:depth=", "key=value"),
        ("rec_lra:depth=2,depth=3", "'depth' stands twice"),
        (":depth=2", "no name"),
        ("", "no name"),
    ],
)
def test_texts_that_name_none(text: str, words: str) -> None:
    with pytest.raises(OptionError, match=words.replace("?", r"\?")):
        parse_wiring(text)


@pytest.mark.parametrize(
    "text", ["rec_lra:depth=0", "rec_lra:depth=two", "rec_lra:beta=-1", "drtp:reduction=median", "ekdaa:sign=3"]
)
def test_texts_with_values_that_cannot_be(text: str) -> None:
    with pytest.raises(InvalidWiring):
        parse_wiring(text)


def test_a_file_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "w.json").write_text(dfa().to_json())
    assert parse_wiring("~/w.json") == dfa()


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(WiringError, match=r"cannot be read.*to_json"):
        parse_wiring(str(tmp_path / "absent.json"))
    (tmp_path / "broken.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(WiringError, match="cannot be read"):
        parse_wiring(str(tmp_path / "broken.json"))
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(InvalidWiring, match="no wiring"):
        parse_wiring(str(tmp_path / "other.json"))


# ------------------------------------------------------------------------------------------------ mixtures


def test_a_mixture_has_a_rule_a_part_in_order() -> None:
    mixed = mix({"features.*": dfa(), "*": bp()})
    assert mixed.name == "dfa+bp"
    assert [rule.at for rule in mixed.rules] == ["features.*", "*"]
    assert mixed.rule("features.3") == dfa().rules[0].model_copy(update={"at": "features.*"})
    assert mixed.rule("classifier.0") == bp().rules[0]
    assert mix({"a": dfa()}).rule("b") is None
    assert Wiring.from_json(mixed.to_json()) == mixed


def test_a_mixture_takes_over_what_its_parts_say() -> None:
    still = dfa().model_copy(update={"frozen": ("a.*",)})
    moving = bp().model_copy(update={"frozen": ("b.*", "a.*")})
    assert mix({"x": still, "*": moving}, name="mine").frozen == ("a.*", "b.*")
    assert mix({"x": rec_lra(), "*": ekdaa()}).reprojection == 1.0


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"a": mix({"b": dfa(), "*": bp()}), "*": bp()}, "'dfa\\+bp' for 'a' is a mixture itself"),
        ({"a": rec_lra(), "*": bp()}, "different re-projections.*Give all the same by part.but\\(reprojection="),
        ({"a": dfa().model_copy(update={"sites": Sites(blocks=("x",))}), "*": bp()}, "different sites.*Pass sites="),
        ({}, "mixture|part"),
    ],
    ids=["nested", "re-projection", "sites", "empty"],
)  # fmt: skip
def test_mixtures_that_cannot_be(parts: dict[str, Wiring], words: str) -> None:
    with pytest.raises(InvalidWiring, match=words):
        mix(parts)


def test_sites_given_to_a_mixture_settle_the_matter() -> None:
    placed = dfa().model_copy(update={"sites": Sites(blocks=("x",))})
    assert mix({"a": placed, "*": bp()}, sites=Sites(modules=("y",))).sites == Sites(modules=("y",))


# ------------------------------------------------------------------------------------------------ topologies


def chain(*sites: str) -> SiteStructure:
    graph = nx.DiGraph()
    nx.add_path(graph, [*sites, OUTPUT])
    return SiteStructure(sites, graph, (), {site: site for site in sites})


def nested() -> SiteStructure:
    """Two stages of two blocks of two sites, ``s<stage>.b<block>.<inner|out>``, behind a stem."""
    sites = ("stem", *(f"s{s}.b{b}.{site}" for s in "12" for b in "12" for site in ("in", "out")))
    plain = chain(*sites)
    blocks = {site: site.rpartition(".")[0] for site in sites[1:]}
    stages = {site: site[:2] for site in sites[1:]}
    return SiteStructure(sites, plain.forward, (blocks, stages), plain.modules)


def senders(topology: Any, structure: SiteStructure) -> dict[str, tuple[str, ...] | None]:
    return {site: topology.senders(site, structure) for site in structure.sites}


def test_pairwise_direct_and_silent() -> None:
    structure = chain("a", "b", "c")
    assert senders(Pairwise(), structure) == {"a": ("b",), "b": ("c",), "c": (OUTPUT,)}
    assert senders(Direct(), structure) == dict.fromkeys("abc", (OUTPUT,))
    assert senders(Silent(), structure) == dict.fromkeys("abc", ())


def test_pairwise_on_a_fork_hears_both_branches() -> None:
    graph = nx.DiGraph([("a", "b"), ("a", "c"), ("b", OUTPUT), ("c", OUTPUT)])
    assert set(Pairwise().senders("a", SiteStructure(("a", "b", "c"), graph, (), {})) or ()) == {"b", "c"}


@pytest.mark.parametrize(
    ("gap", "hear_output"), [(1, [4]), (2, [2, 4]), (3, [3, 4]), (4, [4]), (9, [4])], ids=lambda value: str(value)
)
def test_skip_counts_sites_from_one(gap: int, hear_output: list[int]) -> None:
    found = senders(Skip(gap=gap), chain("1", "2", "3", "4"))
    assert [int(site) for site, sources in found.items() if sources == (OUTPUT,)] == hear_output
    assert all(sources == (str(int(site) + 1),) for site, sources in found.items() if sources != (OUTPUT,))


def test_recursion_on_nested_groups() -> None:
    structure = nested()
    one, two, three = (senders(Recursive(depth=depth), structure) for depth in (1, 2, 3))
    assert {site for site, sources in one.items() if sources is None} == {site for site in structure.sites if site.endswith("in")}
    assert all(sources == (OUTPUT,) for sources in one.values() if sources is not None)
    assert two["s1.b1.in"] == ("s1.b1.out",)
    assert two["s1.b1.out"] == two["stem"] == (OUTPUT,)
    assert three["s1.b1.in"] == ("s1.b1.out",)
    assert three["s1.b1.out"] == ("s1.b2.out",)
    assert three["s1.b2.out"] == three["stem"] == (OUTPUT,)
    assert senders(Recursive(depth=9), structure) == three


def test_recursion_by_patterns_outermost_first() -> None:
    bare = SiteStructure(nested().sites, nested().forward, (), nested().modules)
    assert senders(Recursive(depth=3, levels=("s?", "s?.b?")), bare) == senders(Recursive(depth=3), nested())
    assert senders(Recursive(depth=1, levels=("s?.b?",)), bare) == senders(Recursive(depth=1), nested())


def test_a_pattern_groups_by_the_outermost_module_that_matches() -> None:
    assert dict(nested().matching("s?")) == dict(nested().levels[1])
    assert dict(nested().matching("s1.b?")) == {site: site[:5] for site in nested().sites if site.startswith("s1")}
    assert nested().matching("t*") == {}


@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 4))
def test_recursion_reaches_every_site_once_in_at_most_depth_edges(depth: int, width: int, levels: int) -> None:
    """Whatever the nesting: a tree from the output."""
    sites = tuple(".".join([*(str(n // width**k) for k in range(levels, 0, -1)), str(n)]) for n in range(2 * width))
    plain = chain(*sites)
    groups = tuple({site: ".".join(site.split(".")[: levels - k]) for site in sites} for k in range(levels))
    found = senders(Recursive(depth=depth), SiteStructure(sites, plain.forward, groups, plain.modules))
    tree = nx.DiGraph((source, site) for site, sources in found.items() if sources is not None for source in sources)
    distances = nx.single_source_shortest_path_length(tree, OUTPUT)
    assert set(distances) == {OUTPUT, *(site for site, sources in found.items() if sources is not None)}
    assert max(distances.values()) <= depth
    assert depth == 1 or None not in found.values()


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=8, unique=True))
def test_explicit_edges_are_heard_as_drawn(pairs: list[tuple[int, int]]) -> None:
    topology = Explicit(edges=tuple(Edge(source=str(a), target=str(b)) for a, b in pairs))
    structure = chain(*map(str, range(6)))
    for site in structure.sites:
        arriving = topology.arriving(site, structure)
        assert [(edge.source, edge.target) for edge in arriving] == [(str(a), str(b)) for a, b in pairs if str(b) == site]


def test_explicit_edges_name_blocks_and_keep_what_is_their_own() -> None:
    own = Edge(source="s2.b1", target="s1.b2", synapse=Dense(), plasticity=Hebbian())
    (edge,) = Explicit(edges=(own, Edge(source=OUTPUT, target="s2.b2"))).arriving("s1.b2.out", nested())
    assert edge == own.model_copy(update={"source": "s2.b1.out", "target": "s1.b2.out"})


# ------------------------------------------------------------------------------------------------ the package


def test_importing_wiring_imports_no_torch() -> None:
    code = "import sys, wiring; wiring.rec_lra().to_json(); assert not [m for m in sys.modules if m.split('.')[0] == 'torch']"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_is_there() -> None:
    assert all(hasattr(wiring, name) for name in wiring.__all__)
    assert len(set(wiring.__all__)) == len(wiring.__all__)
    assert all(isinstance(PRESETS[name](), Wiring) for name in PRESETS)
    assert fa().name == "fa"
