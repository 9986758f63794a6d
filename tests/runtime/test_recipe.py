"""What comparing is made of: recipes, optimisers, losses, step times, standardised pixels, files that are whole."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from compiler import compile
from runtime import Learner
from runtime.data import Data, load_data, standardise
from runtime.data.record import Split
from runtime.errors import TrainingError
from runtime.files import FileError, fresh_folder, write_whole
from runtime.losses import bce, loss_named
from runtime.models import build_model
from runtime.optimizers import Joined, build_optimizer, build_schedule
from runtime.recipe import Recipe
from runtime.timing import step_times
from wiring import bp, parse_wiring

MODEL = "mlp:width=16,depth=2"


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data("digits", limit=20)


def test_timing_leaves_learners_as_they_were(data: Data) -> None:
    torch.manual_seed(0)
    model = build_model("cnn:width=2,depth=1", data.input_shape, data.classes)
    x, y = data.train.x[:8], data.train.y[:8]
    learner = Learner(compile(model, bp(), (x, y)))
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    assert any("running_mean" in name for name in before)
    state = torch.get_rng_state()
    times = step_times({"bp": learner}, x, y, rounds=5)
    assert times["bp"].rounds == 5
    assert 0 < times["bp"].low <= times["bp"].ratio <= times["bp"].high
    assert all(torch.equal(value, before[name]) for name, value in learner.state_dict().items())
    assert all(parameter.grad is None for parameter in learner.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert step_times({}, x, y) == {}


def test_a_ratio_is_the_learners_time_over_that_of_backpropagation(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that goes on by 1 ms a look, and by 2 ms more in a step of the learner's."""
    now, learn = [0.0], Learner.learn

    def look() -> float:
        now[0] += 1e-3
        return now[0]

    def slower(self: Learner, x: Any, y: Any) -> Any:
        now[0] += 2e-3
        return learn(self, x, y)

    x, y = data.train.x[:8], data.train.y[:8]
    learner = Learner(compile(build_model(MODEL, data.input_shape, data.classes), bp(), (x, y)))
    monkeypatch.setattr("runtime.turns.perf_counter", look)
    monkeypatch.setattr(Learner, "learn", slower)
    found = step_times({"bp": learner}, x, y, rounds=5)["bp"]
    assert (found.ratio, found.milliseconds, found.bp_milliseconds) == pytest.approx((3.0, 3.0, 1.0))


def test_timing_stops_when_its_time_is_used_up(data: Data) -> None:
    x, y = data.train.x[:8], data.train.y[:8]
    learner = Learner(compile(build_model(MODEL, data.input_shape, data.classes), bp(), (x, y)))
    assert step_times({"bp": learner}, x, y, rounds=1000, seconds=0)["bp"].rounds == 5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"epochs": 0}, "--epochs is 0. Give a whole number from 1 on"),
        ({"lr": math.nan}, "--lr is nan"),
        ({"lr": -1.0}, "--lr is -1.0"),
        ({"weight_decay": math.inf}, "--weight-decay is inf"),
        ({"momentum": 0.9}, "--momentum is SGD's, not adam's"),
        ({"momentum": 1.0, "optimizer": "sgd"}, "--momentum is 1.0. Give a number from 0 to below 1."),
        ({"momentum": -0.1, "optimizer": "sgd"}, "--momentum is -0.1."),
        ({"momentum": math.nan, "optimizer": "sgd"}, "--momentum is nan."),
        ({"clip_norm": 0.0}, "--clip-norm is 0.0"),
        ({"optimizer": "lbfgs"}, "No optimiser is called 'lbfgs'"),
        ({"autocast": "fp8"}, "--autocast is 'fp8'"),
        ({"layout": "nhwc"}, "--layout is 'nhwc'"),
    ],
)
def test_a_recipe_checks_its_numbers(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainingError) as caught:
        Recipe(**fields)
    assert message in str(caught.value)


def test_a_recipes_numbers_are_given_by_name() -> None:
    with pytest.raises(TypeError, match="positional"):
        Recipe(15, 32)  # type: ignore[misc]


def test_error_synapses_may_have_their_own_rate(data: Data) -> None:
    x, y = data.train.x[:8], data.train.y[:8]
    learner = Learner(compile(build_model(MODEL, data.input_shape, data.classes), parse_wiring("kp"), (x, y)))
    recipe = Recipe(optimizer="sgd", lr=0.1, error_lr=0.01, momentum=0.9, weight_decay=1e-3)
    forward, error = recipe.optimiser(learner).param_groups
    assert (forward["lr"], error["lr"]) == (0.1, 0.01)
    assert [group["momentum"] for group in (forward, error)] == [0.9, 0.9]
    assert [group["weight_decay"] for group in (forward, error)] == [1e-3, 1e-3]
    assert {id(parameter) for parameter in error["params"]} == {id(parameter) for parameter in learner.error_parameters()}
    adamw = Recipe(optimizer="adamw").optimiser(learner)
    assert adamw.param_groups[0]["weight_decay"] == 0.01  # torch's own


def test_standardised_pixels_have_the_training_splits_mean_and_scale() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(50, 1, 2, 2, generator=generator)
    x[:, :, 0, 0] = 0.0
    data = Data("d", Split(x[:40], torch.zeros(40, dtype=torch.int64)), Split(x[40:], torch.zeros(10, dtype=torch.int64)), 1)
    done = standardise(data)
    deviation = data.train.x.double().std(0, correction=0).float()
    torch.testing.assert_close(done.train.x.mean(0), torch.zeros(1, 2, 2), atol=1e-6, rtol=0)
    torch.testing.assert_close(done.train.x.std(0, correction=0), deviation / (deviation + 0.1))
    torch.testing.assert_close(done.test.x, (data.test.x - data.train.x.mean(0)) / (deviation + 0.1))
    assert not done.train.x[:, :, 0, 0].any()
    assert torch.equal(data.train.x, x[:40])


def test_files_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "text"
    write_whole(path, "ä")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(FileError, match="cannot be written"):
        write_whole(path / "below", "a file is no folder")


def test_fresh_folders_are_named_and_numbered(tmp_path: Path) -> None:
    first = fresh_folder("package.module:net", "rec_lra:depth=2,beta=0.1", root=tmp_path)
    assert first == tmp_path / "package.module_net-rec_lra_depth=2,beta=0.1"
    first.mkdir()
    assert fresh_folder("package.module:net", "rec_lra:depth=2,beta=0.1", root=tmp_path).name == f"{first.name}-2"
    assert fresh_folder("mlp", "../there/w.json", root=tmp_path) == tmp_path / "mlp-w.json"


# -------------------------------------------------------------- optimisers, schedules and losses by text


def learner_of(data: Data, wiring: str) -> Learner:
    torch.manual_seed(0)
    return Learner(
        compile(build_model(MODEL, data.input_shape, data.classes), parse_wiring(wiring), (data.train.x[:8], data.train.y[:8]))
    )


def test_forward_parameters_and_error_synapses_may_have_optimisers_of_their_own(data: Data) -> None:
    learner, twin = learner_of(data, "kp"), learner_of(data, "kp")
    optimizer = build_optimizer(learner, "sgd:lr=0.1,momentum=0.9,nesterov=true", "adam:lr=0.01,weight_decay=0.1")
    assert isinstance(optimizer, Joined)
    forward, error = optimizer.parts
    assert isinstance(forward, torch.optim.SGD)
    assert isinstance(error, torch.optim.Adam)
    by_hand = (
        torch.optim.SGD(twin.forward_parameters(), lr=0.1, momentum=0.9, nesterov=True),
        torch.optim.Adam(twin.error_parameters(), lr=0.01, weight_decay=0.1),
    )
    for _ in range(3):
        for each, steps in ((learner, (optimizer,)), (twin, by_hand)):
            each.learn(data.train.x, data.train.y)
            for one in steps:
                one.step()
            each.zero_grad()
    for ours, theirs in zip(learner.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)  # torch's fused kernels round in another place


def test_one_optimiser_teaches_all_that_learns_and_no_more(data: Data) -> None:
    for wiring, count in (("kp", 8), ("dfa", 6), ("shallow", 2)):
        (group,) = build_optimizer(learner_of(data, wiring), "adam:lr=0.01", None).param_groups
        assert len(group["params"]) == count
    assert not isinstance(build_optimizer(learner_of(data, "dfa"), "adam:lr=0.01", "adam:lr=0.1"), Joined)


def test_schedules_step_each_part_by_its_own(data: Data) -> None:
    optimizer = build_optimizer(learner_of(data, "kp"), "sgd:lr=1", "adam:lr=1")
    rates: list[float] = []
    scheduler = build_schedule(optimizer, "step:every=2,factor=0.1", "step:every=1,factor=0.5")
    assert scheduler is not None
    for _ in range(4):
        rates += [group["lr"] for group in optimizer.param_groups]
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([1, 1, 1, 0.5, 0.1, 0.25, 0.1, 0.125])
    assert build_schedule(optimizer, None, None) is None
    (alone,) = build_schedule(optimizer, None, "step:every=1,factor=0.5").lr_lambdas[:1]  # type: ignore[union-attr]
    assert [alone(epoch) for epoch in range(3)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lbfgs", "No optimiser is called 'lbfgs'. Optimisers: adam, sgd, adamw."),
        ("adam:momentum=0.9", "'adam' has no option 'momentum'. It takes: lr, betas"),
        ("sgd:lr=-1", "Optimiser 'sgd:lr=-1' cannot be built: Invalid learning rate"),
        ("sgd:lr=0.1,nesterov=true", "Nesterov momentum requires a momentum"),
    ],
)
def test_an_optimiser_that_cannot_be_is_refused(text: str, message: str, data: Data) -> None:
    with pytest.raises(TrainingError) as caught:
        build_optimizer(learner_of(data, "dfa"), text)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["cosine:epochs=3", "step:every=2", "step:every=0,factor=0.5", "step:every=1,factor=0"])
def test_a_schedule_that_cannot_be_is_refused(text: str, data: Data) -> None:
    optimizer = build_optimizer(learner_of(data, "dfa"), "sgd:lr=1")
    with pytest.raises(TrainingError, match="step:every="):
        build_schedule(optimizer, text)


def test_bce_is_a_mean_over_samples_and_classes() -> None:
    logits, labels = torch.randn(5, 3), torch.tensor([0, 2, 1, 1, 0])
    p, t = torch.sigmoid(logits), torch.eye(3)[labels]
    wanted = -(t * p.log() + (1 - t) * (1 - p).log()).mean()
    torch.testing.assert_close(bce(logits, labels), wanted)
    torch.testing.assert_close(bce(logits, t), wanted)
    assert loss_named("bce") is bce
    with pytest.raises(TrainingError, match=r"No loss is called 'mae'\. Losses: cross_entropy, bce, mse"):
        loss_named("mae")
