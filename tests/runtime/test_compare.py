"""Comparing wirings: the same start and batches, what a row says, what failures leave to the others, files and pictures."""

import csv
import json
import math
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console

from compiler import compile
from runtime import Learner, TrainingWarning
from runtime.compare import compare, with_reference
from runtime.comparison import Angle, Comparison, Cost, Row
from runtime.data import Data, load_data, standardise
from runtime.models import build_model
from runtime.plots import accuracies, curves, save_figure, site_angles, step_time_bars
from runtime.recipe import Recipe
from runtime.tables import comparison_table
from runtime.training import fit
from wiring import dfa
from wiring.errors import OptionError

MODEL = "mlp:width=16,depth=2"
QUICK = Recipe(epochs=2)
NETS = """
import torch
from torch import nn

class Sign(nn.Module):
    def forward(self, x):
        return torch.sign(x)

def step(input_shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), Sign(), nn.Linear(16, classes))
"""


@pytest.fixture(scope="module")
def data() -> Data:
    return standardise(load_data("digits", limit=200))


@pytest.fixture(scope="module")
def outcome(data: Data) -> Comparison:
    return compare(MODEL, ["fa", "dfa", "shallow"], data, QUICK)


def test_a_rate_that_nothing_learns_by_warns(data: Data) -> None:
    with pytest.warns(TrainingWarning, match=r"--error-lr 0\.01 changes nothing: these wirings learn no error synapse"):
        compare(MODEL, ["drtp"], data, replace(QUICK, epochs=1, error_lr=0.01))


def row(comparison: Comparison, name: str) -> Row:
    return next(row for row in comparison.rows if row.wiring == name)


def shown(comparison: Comparison, width: int = 132) -> str:
    text = StringIO()
    Console(file=text, width=width).print(comparison_table(comparison))
    return text.getvalue()


def test_backpropagation_comes_first_unless_it_was_asked_for() -> None:
    assert with_reference(["dfa", "fa", "dfa"]) == ("bp", "dfa", "fa")
    assert with_reference(["dfa", "bp"]) == ("dfa", "bp")


def test_every_row_has_all_numbers(outcome: Comparison) -> None:
    assert [row.wiring for row in outcome.rows] == ["bp", "fa", "dfa", "shallow"]
    assert outcome.parameters == 64 * 16 + 16 + 16 * 16 + 16 + 16 * 10 + 10
    for entry in outcome.rows:
        assert entry.outcome == "trained"
        assert len(entry.history) == 2
        assert entry.step is not None
        assert 0 < entry.step.low <= entry.step.ratio <= entry.step.high


def test_backpropagation_is_at_no_angle_and_costs_itself(outcome: Comparison) -> None:
    reference = row(outcome, "bp")
    assert reference.cost == Cost(0, 1.0, 1.0)
    assert reference.angle is not None
    assert reference.angle.mean < 1e-3
    assert reference.angle.tensors == reference.angle.parameters == 6


def test_numbers_of_direct_feedback_alignment_are_those_of_its_program(outcome: Comparison) -> None:
    entry = row(outcome, "dfa")
    assert entry.cost is not None
    assert entry.cost.error_parameters == 2 * 16 * 10
    assert entry.cost.flops_ratio is not None
    assert entry.cost.flops_ratio < 1
    assert entry.angle is not None
    assert 0 < entry.angle.mean < 180
    assert list(entry.angle.sites) == ["act1", "act2"]


def test_a_frozen_region_has_no_angle(outcome: Comparison) -> None:
    angle = row(outcome, "shallow").angle
    assert angle is not None
    assert (angle.tensors, angle.parameters) == (2, 6)
    assert "2/6" in shown(outcome)


def test_a_row_is_what_the_wiring_does_when_it_is_trained_alone(data: Data, outcome: Comparison) -> None:
    """Neither the timing nor the wirings before it have left a trace."""
    torch.manual_seed(0)
    model = build_model(MODEL, data.input_shape, data.classes)
    learner = Learner(compile(model, dfa(), (data.train.x[:32], data.train.y[:32])))
    history = fit(learner, QUICK.optimiser(learner), data.train, epochs=2, test=data.test, progress=False)
    own = row(outcome, "dfa").history
    assert [epoch.train_loss for epoch in own] == [epoch.train_loss for epoch in history.epochs]
    assert [epoch.test_accuracy for epoch in own] == [epoch.test_accuracy for epoch in history.epochs]


def test_comparing_leaves_the_random_generator_alone(data: Data) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    compare(MODEL, ["bp"], data, Recipe(epochs=1))
    assert torch.equal(torch.rand(2), expected)


def test_a_wiring_that_diverges_says_so_and_the_others_go_on(data: Data) -> None:
    recipe = Recipe(epochs=1, optimizer="sgd", lr=1e9)
    comparison = compare("mlp:activation=relu,width=16", ["bp", "ekdaa"], data, recipe)
    assert row(comparison, "bp").outcome == "diverged"
    assert row(comparison, "bp").reason == "Epoch 1, step 3: The loss is nan."
    assert row(comparison, "bp").step is not None
    assert row(comparison, "ekdaa").outcome == "trained"
    assert "diverged" in shown(comparison)


def test_a_model_that_backpropagation_cannot_train(data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "step_nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    comparison = compare("step_nets:step", ["rec_lra"], data, Recipe(epochs=1))
    refused, trained = comparison.rows
    assert refused.outcome == "refused"
    assert refused.reason is not None
    assert "its derivative is zero almost everywhere" in refused.reason
    assert trained.outcome == "trained"
    assert trained.angle is not None
    assert trained.cost is not None
    for picture in (accuracies, step_time_bars, site_angles):
        picture(comparison)
    assert json.loads(comparison.to_json())["rows"][1]["mean_angle"] == pytest.approx(trained.angle.mean)


def test_a_wrong_text_is_refused_before_anything_runs(data: Data) -> None:
    stages: list[str] = []
    with pytest.raises(OptionError, match="No preset is called 'dfaa'"):
        compare(MODEL, ["bp", "dfaa"], data, QUICK, stage=stages.append)
    assert not stages


def test_stages_and_rows_are_told_as_they_come(data: Data) -> None:
    stages: list[str] = []
    lengths: list[int] = []
    compare(MODEL, ["dfa"], data, Recipe(epochs=1), stage=stages.append, done=lambda found: lengths.append(len(found.rows)))
    assert stages == [
        "compiling bp",
        "compiling dfa",
        "timing the steps of 2 wirings",
        "training bp, 1 of 2",
        "training dfa, 2 of 2",
    ]
    assert lengths == [1, 2]


def test_files_hold_every_number_and_no_nan(outcome: Comparison, tmp_path: Path) -> None:
    broken = Row("x", "trained", angle=Angle(math.nan, 0, 6, {"act1": math.nan}))
    replace(outcome, rows=(*outcome.rows, broken)).save(tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["comparison.csv", "comparison.json"]
    tree = json.loads((tmp_path / "new" / "comparison.json").read_text())
    assert tree["recipe"]["epochs"] == 2
    assert [len(entry["history"]) for entry in tree["rows"]] == [2, 2, 2, 2, 0]
    assert tree["rows"][2]["site_angles"].keys() == {"act1", "act2"}
    assert tree["rows"][4]["site_angles"] == {"act1": None}
    with (tmp_path / "new" / "comparison.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["wiring"] for line in lines] == ["bp", "fa", "dfa", "shallow", "x"]
    assert float(lines[2]["test_accuracy"]) == row(outcome, "dfa").test_accuracy
    assert lines[4]["test_accuracy"] == ""


def test_the_table_fits_a_narrow_terminal(outcome: Comparison) -> None:
    lines = shown(outcome, width=80).splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("shallow") and line.rstrip().endswith(tuple("0123456789")) for line in lines)


def test_pictures_are_whole_files(outcome: Comparison, tmp_path: Path) -> None:
    for number, figure in enumerate(
        [accuracies(outcome), step_time_bars(outcome), site_angles(outcome), curves("x", row(outcome, "fa").history)]
    ):
        png, svg = save_figure(figure, tmp_path / f"{number}.5")
        assert (png.name, svg.name) == (f"{number}.5.png", f"{number}.5.svg")
        assert png.read_bytes().startswith(b"\x89PNG")
        assert "</svg>" in svg.read_text()
    names = [text.get_text() for text in accuracies(outcome).axes[0].get_legend().get_texts()]
    assert {name.split()[0] for name in names} == {"bp", "fa", "dfa", "shallow"}
    angles = [text.get_text() for text in site_angles(outcome).axes[0].get_legend().get_texts()]
    assert angles == ["fa", "dfa"]


def test_pictures_of_nothing_say_so() -> None:
    empty = Comparison(MODEL, "digits", 0, QUICK, (Row("bp", "refused", "no"),))
    for picture in (accuracies, site_angles):
        assert picture(empty).axes[0].texts[0].get_text() == "nothing to show"
    step_time_bars(empty)
