"""The weight mirror's noise phase: what it teaches, what it reads, and where it stands in the program."""

import copy

import pytest
import torch
from torch import nn

from compiler import compile
from runtime import Learner
from runtime.alignment import angle
from wiring import InvalidWiring, fa, parse_wiring, weight_mirror


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 5)
    )


def learner_of(wiring: str, **options: object) -> tuple[Learner, torch.Tensor, torch.Tensor]:
    model = net()
    x, y = torch.randn(16, 2, 8, 8), torch.arange(16) % 5
    return Learner(compile(model, parse_wiring(wiring), (x, y)), **options), x, y  # type: ignore[arg-type]


def mean_update(learner: Learner, x: torch.Tensor, y: torch.Tensor, steps: int) -> dict[str, torch.Tensor]:
    learner.zero_grad()
    for _ in range(steps):
        learner.learn(x, y)
    return {name: synapse.grad / steps for name, synapse in learner.error_synapses().items()}  # type: ignore[operator]


def test_the_mean_update_leads_to_the_weights() -> None:
    learner, x, y = learner_of("weight_mirror:gamma=0.2,decay=0.05,std=2.0")
    weights = dict(learner.model.named_parameters())
    for name, update in mean_update(learner, x, y, 400).items():
        weight, own = weights[name.removeprefix("mirror:")], learner.error_synapses()[name]
        want = 0.05 * own - 0.2 * 4.0 * weight
        assert angle(update, want) < 8.0, name
        assert update.norm().item() == pytest.approx(want.norm().item(), rel=0.05), name


def test_a_weight_that_errors_pass_twice_teaches_its_mirror_by_the_mean_of_both() -> None:
    shared = nn.Linear(6, 6)
    model = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), shared, nn.Tanh(), shared, nn.Tanh(), nn.Linear(6, 3))
    x, y = torch.randn(2000, 6), torch.arange(2000) % 3
    learner = Learner(compile(model, parse_wiring("weight_mirror:gamma=0.2,decay=0,std=2.0"), (x, y)))
    update, want = mean_update(learner, x, y, 1)["mirror:2.weight"], -0.2 * 4.0 * shared.weight
    assert angle(update, want) < 8.0
    assert update.norm().item() == pytest.approx(want.norm().item(), rel=0.05)


def test_biases_take_no_part_in_the_noise_phase() -> None:
    learner, x, y = learner_of("weight_mirror")
    torch.manual_seed(5)
    wanted = mean_update(learner, x, y, 1)
    with torch.no_grad():
        for bias in (p for p in learner.model.parameters() if p.dim() == 1):
            bias += 100.0
    torch.manual_seed(5)
    for name, update in mean_update(learner, x, y, 1).items():
        assert torch.equal(update, wanted[name]), name


def test_the_mirrors_turn_to_the_weights_and_rest_at_their_length() -> None:
    learner, x, y = learner_of("weight_mirror")
    optimizer = torch.optim.SGD(learner.error_parameters(), lr=0.3)
    for _ in range(400):
        learner.zero_grad()
        learner.learn(x, y)
        optimizer.step()
    weights = dict(learner.model.named_parameters())
    for name, mirror in learner.error_synapses().items():
        weight = weights[name.removeprefix("mirror:")]
        assert angle(mirror, weight) < 20.0, name
        assert mirror.norm().item() == pytest.approx(weight.norm().item(), rel=0.15), name


def test_the_forward_weights_learn_as_by_feedback_alignment() -> None:
    mirrored, x, y = learner_of("weight_mirror")
    twin = Learner(compile(copy.deepcopy(mirrored.model), fa(), (x, y)))
    mirrored.learn(x, y)
    twin.learn(x, y)
    for (name, ours), theirs in zip(mirrored.model.named_parameters(), twin.model.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad), name  # type: ignore[arg-type]


def test_the_sign_turns_it_round() -> None:
    plus, x, y = learner_of("weight_mirror:decay=0")
    minus, _, _ = learner_of("weight_mirror:decay=0,plasticity.sign=-1")
    torch.manual_seed(5)
    plus.learn(x, y)
    torch.manual_seed(5)
    minus.learn(x, y)
    for name, synapse in plus.error_synapses().items():
        assert torch.equal(synapse.grad, -minus.error_synapses()[name].grad), name  # type: ignore[arg-type, operator]


def test_the_noise_phase_is_tasks_of_the_program_that_wait_for_no_error() -> None:
    learner, _, _ = learner_of("weight_mirror")
    nodes = learner.program.lowered.module.graph.nodes
    noise = [node for node in nodes if str((node.meta.get("custom") or {}).get("task")).startswith("noise:")]
    assert {node.meta["custom"]["task"] for node in noise} == {f"noise:mirror:{n}.weight" for n in (2, 5, 7)}
    inputs = {source for node in noise for source in node.all_input_nodes if source not in noise}
    assert all(source.op == "placeholder" or source.meta["custom"]["task"].startswith("forward:") for source in inputs), inputs
    report = learner.program.report()
    assert report.weight_transport == ()
    assert report.schedule.critical_path_seconds < report.schedule.work_seconds


@pytest.mark.parametrize("streams", [1, 2, 3])
def test_threads_draw_the_same_noise(streams: int) -> None:
    serial, x, y = learner_of("weight_mirror")
    threads, _, _ = learner_of("weight_mirror", backend="threads", streams=streams)
    for learner in (serial, threads):
        torch.manual_seed(7)
        for _ in range(3):
            learner.learn(x, y)
    for name, synapse in serial.error_synapses().items():
        assert torch.equal(synapse.grad, threads.error_synapses()[name].grad), name  # type: ignore[arg-type]


def test_noise_teaches_mirrors_only() -> None:
    with pytest.raises(InvalidWiring, match=r"'noise_mirror' follows forward weights\. It needs synapse=Mirror"):
        weight_mirror().but(synapse__weights="sign")
