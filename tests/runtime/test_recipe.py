"""What comparing is made of: recipes, step times, standardised pixels, files that are whole."""

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
from runtime.models import build_model
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
    assert times["bp"].ratio == pytest.approx(times["bp"].milliseconds / times["bp"].bp_milliseconds, rel=1)
    assert all(torch.equal(value, before[name]) for name, value in learner.state_dict().items())
    assert all(parameter.grad is None for parameter in learner.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert step_times({}, x, y) == {}


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
