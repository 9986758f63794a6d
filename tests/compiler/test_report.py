"""What a program says of itself: locking, weight transport, FLOPs, activation bytes."""

import functools
import gc
import weakref

import pytest
import torch
from architectures import CASES
from torch import nn

import wiring
from compiler import UpdateProgram, compile
from runtime import Learner
from runtime.models import build_model
from wiring import Dense, Edge, Explicit, Rule, Target, Wiring, mix


def mlp(activation: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(6, 8), activation(), nn.Linear(8, 8), activation(), nn.Linear(8, 8), activation(), nn.Linear(8, 3)
    )


def program(model: nn.Module, algorithm: Wiring) -> UpdateProgram:
    torch.manual_seed(0)
    return compile(model, algorithm, (torch.randn(4, 6), torch.randint(0, 3, (4,))))


@functools.cache
def of_case(name: str, algorithm: Wiring) -> UpdateProgram:
    case = CASES[name]
    torch.manual_seed(0)
    return compile(case.build(), algorithm, (case.inputs(), case.labels()), case.loss)


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("bp", ["locked", "locked", "backward-unlocked"]),
        ("fa", ["locked", "locked", "backward-unlocked"]),
        ("ekdaa", ["locked", "locked", "backward-unlocked"]),
        ("dfa", ["backward-unlocked"] * 3),
        ("sdfa", ["backward-unlocked"] * 3),
        ("dkp", ["backward-unlocked"] * 3),
        ("drtp", ["update-unlocked"] * 3),
        ("rec_lra", ["backward-unlocked"] * 3),
        ("shallow", [None] * 3),
    ],
)
def test_locking_of_each_site(preset: str, expected: list[str | None]) -> None:
    report = program(mlp(), wiring.PRESETS[preset]()).report()
    assert [site.locking for site in report.sites] == expected


def test_inner_sites_of_recursive_lra_wait_for_their_block() -> None:
    report = of_case("resnet20", wiring.rec_lra(depth=2)).report()
    locking = {site.name: site.locking for site in report.sites}
    assert locking["layer1.0.relu"] == "locked"
    assert {locking[site.name] for site in report.sites if site.edges[0].source == "output"} == {"backward-unlocked"}


@pytest.mark.parametrize("preset", sorted(set(wiring.PRESETS) - {"bp", "sign_symmetry"}))
def test_no_weight_transport_without_normalisation(preset: str) -> None:
    report = program(mlp(), wiring.PRESETS[preset]()).report()
    assert report.weight_transport == ()
    assert report.local_weight_transport == ()


@pytest.mark.parametrize("preset", ["bp", "sign_symmetry"])
def test_weight_transport_names_every_weight_on_an_error_path(preset: str) -> None:
    assert program(mlp(), wiring.PRESETS[preset]()).report().weight_transport == ("2.weight", "4.weight", "6.weight")


def test_a_mirror_through_a_normalisation_reads_its_scale() -> None:
    program = of_case("resnet20", wiring.fa())
    report = program.report()
    assert report.weight_transport
    assert report.transported_scales == report.weight_transport
    assert "a mirror edge reads the scale of each normalisation that it passes" in program.explain()
    assert all("bn" in name or name.endswith("norm.weight") for name in report.weight_transport)


@pytest.mark.parametrize("preset", ["dfa", "drtp"])
def test_gradients_of_weights_alone_read_no_weight(preset: str) -> None:
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.Tanh(), torch.nn.Conv2d(4, 4, 3), torch.nn.LayerNorm(4), torch.nn.Tanh(),
        torch.nn.Flatten(), torch.nn.Linear(64, 10),
    )  # fmt: skip
    report = compile(model, wiring.PRESETS[preset](), (torch.randn(2, 1, 8, 8), torch.tensor([0, 1]))).report()
    assert report.weight_transport == ()
    assert report.local_weight_transport == ("3.weight",), "the scale, which the layer's gradient passes; no kernel"


def test_a_downstream_weight_changes_no_update_upstream_under_drtp() -> None:
    """The experiment behind the report's claim, with a signal that does not depend on any weight."""
    learner = Learner(program(mlp(), wiring.drtp()))
    x, y = torch.randn(4, 6), torch.randint(0, 3, (4,))

    def updates() -> dict[str, torch.Tensor]:
        learner.zero_grad()
        learner.learn(x, y)
        return {name: p.grad.clone() for name, p in learner.model.named_parameters() if p.grad is not None}

    before = updates()
    with torch.no_grad():
        learner.get_parameter("model.4.weight").add_(torch.randn(8, 8))
    after = updates()
    assert all(torch.equal(before[name], after[name]) for name in ("0.weight", "0.bias", "2.weight", "2.bias"))
    assert not torch.equal(before["6.weight"], after["6.weight"])


def test_flops_against_backpropagation() -> None:
    direct = of_case("vgg_bn", wiring.dfa()).report()
    assert direct.flops < 0.85 * direct.bp_flops
    own = of_case("vgg_bn", wiring.bp()).report()
    assert own.flops == own.bp_flops
    mirrored = of_case("vgg_bn", wiring.fa()).report()
    assert mirrored.flops == mirrored.bp_flops


@pytest.mark.filterwarnings("ignore::compiler.WiringWarning")
def test_drtp_needs_no_more_memory_on_a_deeper_network() -> None:
    def peak(name: str, preset: str) -> tuple[int, int]:
        example = (torch.randn(8, 3, 16, 16), torch.randint(0, 10, (8,)))
        model = build_model(f"{name}:width=4", (3, 16, 16), 10)
        report = compile(model, wiring.PRESETS[preset](), example).report()
        return report.peak_activation_bytes, report.bp_peak_activation_bytes

    shallow, _ = peak("resnet14", "drtp")
    deep, deep_bp = peak("resnet32", "drtp")
    assert deep <= 1.1 * shallow
    assert deep <= 0.25 * deep_bp


def test_error_parameters_are_counted_once() -> None:
    report = program(mlp(), wiring.dfa()).report()
    assert report.error_parameters == 3 * 3 * 8
    assert [site.error_parameters for site in report.sites] == [24, 24, 24]
    mirrored = program(mlp(), wiring.fa()).report()
    assert mirrored.error_parameters == 8 * 8 + 8 * 8 + 3 * 8
    assert mirrored.sites[2].edges[0].parameters == ("mirror:6.weight",)


def test_frozen_parameters_are_listed() -> None:
    report = program(mlp(), wiring.shallow()).report()
    assert report.frozen == tuple(sorted(f"{layer}.{kind}" for layer in (0, 2, 4) for kind in ("weight", "bias")))
    assert report.local_weight_transport == ()


def test_parameters_behind_several_sites_are_listed() -> None:
    report = of_case("densenet", wiring.dfa()).report()
    assert report.several_regions
    assert "contributions add up" in of_case("densenet", wiring.dfa()).explain()


def test_a_region_with_two_weights_reads_one_of_them_locally() -> None:
    rule = Rule(topology=Explicit(edges=(Edge(source="output", target="5"),)), synapse=Dense(), credit=Target())
    drawn = Wiring(name="coarse", rules=(rule,), sites=wiring.Sites(include=("5",)))
    report = program(mlp(), drawn).report()
    assert report.weight_transport == ()
    assert report.local_weight_transport == ("2.weight", "4.weight")


def test_mixed_rules_report_their_own_locking() -> None:
    report = program(mlp(), mix({"1": wiring.drtp(), "3": wiring.dfa(), "*": wiring.bp()})).report()
    assert [site.locking for site in report.sites] == ["update-unlocked", "backward-unlocked", "backward-unlocked"]


def test_explain_shows_every_site_and_the_figures_that_people_ask_for() -> None:
    text = of_case("resnet20", wiring.rec_lra()).explain()
    for site in of_case("resnet20", wiring.rec_lra()).report().sites:
        assert site.name in text
    for word in ("GFLOP", "MB at the peak", "Weight transport", "hears", "backward-unlocked"):
        assert word in text


def test_report_goes_to_json_and_back() -> None:
    report = program(mlp(), wiring.kp()).report()
    assert type(report).model_validate_json(report.model_dump_json()) == report


def test_a_norm_behind_which_no_error_goes_transports_nothing_in_channels_last() -> None:
    """There its backward operator computes an input gradient that nobody takes."""
    model = torch.nn.Sequential(
        torch.nn.GroupNorm(1, 3), torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.Tanh(), torch.nn.Flatten(), torch.nn.Linear(64, 3)
    )
    example = torch.randn(2, 3, 4, 4), torch.tensor([0, 1])
    report = compile(model, wiring.dfa(), example, layout="channels_last").report()
    assert report.local_weight_transport == ("1.weight",)


def test_a_program_that_has_reported_is_freed() -> None:
    made = program(mlp(), wiring.dfa())
    made.report()
    seen = weakref.ref(made), weakref.ref(made.model)
    del made
    gc.collect()
    assert [ref() for ref in seen] == [None, None]
