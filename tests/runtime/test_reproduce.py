"""Studies: what a run leaves behind, what is run again and what is not, and how the command ends."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_cli import ended, refused, run

from runtime import NonFiniteLoss, TrainingError
from runtime.learner import Learner
from runtime.reproduce.studies import STUDIES
from runtime.reproduce.study import Angles, Case, Curves, Study

BP = Case(
    name="bp", wiring="bp", model="mlp:width=8,depth=2,dropout=0.1", data="digits", optimizer="sgd:lr=0.1,momentum=0.9", batch_size=20,
    epochs=4, published={"test_error": 10.0},
)  # fmt: skip
KP = replace(
    BP, name="kp", wiring="kp", init="normal:std=0.1", error_optimizer="adam:lr=0.01", error_schedule="step:every=1,factor=0.5",
    angles_every=2,
)  # fmt: skip
DFA = replace(BP, name="dfa", wiring="dfa", published={}, angles_every=1)
TINY = Study(
    name="tiny", title="Tiny", paper="Nobody (2026), table 1", text="A network learns digits.", cases=(BP, KP, DFA),
    figures=(Curves("errors", "test error", "test_error", log=True), Angles("angles", "angles", "kp,dfa")),
)  # fmt: skip
FEW = ("reproduce", "tiny", "--limit", "100", "--threads", "1", "--folder", "out")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(STUDIES, "tiny", TINY)


def result(name: str) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads(Path(f"out/tiny/{name}.json").read_text())
    return tree


def timeless(tree: dict[str, Any]) -> dict[str, Any]:
    history = {name: column for name, column in tree["history"].items() if name != "seconds"}
    return {"history": history, "measured": tree["measured"], "final": tree["final"]}


def test_a_case_leaves_everything_that_it_was_in_a_file() -> None:
    ended(run(*FEW, "--cases", "k*", "--seeds", "3", "--epochs", "3"), 0)
    assert [path.name for path in Path("out/tiny").iterdir()] == ["kp-seed3.json"]
    tree = result("kp-seed3")
    assert (tree["study"], tree["case"], tree["seed"], tree["outcome"], tree["limit"]) == ("tiny", "kp", 3, "finished", 100)
    assert tree["epochs"] == {"asked": 3, "done": 3, "paper": 4}
    assert (tree["threads"], set(tree["versions"])) == (1, {"errorwire", "torch", "python"})
    assert tree["recipe"]["error_optimizer"] == "adam:lr=0.01"
    assert all(len(column) == 3 for column in tree["history"].values())
    assert set(tree["history"]) == {"train_loss", "train_error", "test_loss", "test_error", "seconds"}
    assert tree["final"]["test_error"] == pytest.approx(tree["history"]["test_error"][-1], abs=1e-4)
    assert tree["measured"]["epoch"] == [1, 2]
    assert set(tree["measured"]) >= {"act1", "act2", "update hidden1.weight"}
    assert tree["training_seconds"] >= 0


def test_what_has_ended_is_left_alone_and_more_epochs_go_on() -> None:
    ended(run(*FEW, "--cases", "bp", "--seeds", "0", "--epochs", "2"), 0)
    first, two = result("bp-seed0"), Path("out/tiny/bp-seed0.json").stat().st_mtime_ns
    text = ended(run(*FEW, "--cases", "bp", "--seeds", "0", "--epochs", "2"), 0).stdout
    assert "2 epochs, training error" in text
    assert "in 'out/tiny/bp-seed0.json' already" in text
    assert Path("out/tiny/bp-seed0.json").stat().st_mtime_ns == two
    ended(run(*FEW, "--cases", "bp", "--seeds", "0"), 0)
    four = result("bp-seed0")
    assert four["epochs"] == {"asked": 4, "done": 4, "paper": 4}
    assert four["history"]["seconds"][:2] == first["history"]["seconds"]


def test_a_stopped_run_goes_on_to_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    ended(run(*FEW, "--cases", "kp", "--seeds", "0"), 0)
    wanted = timeless(result("kp-seed0"))
    Path("out/tiny/kp-seed0.json").unlink()
    for path in Path("out/runs/tiny/kp-seed0").iterdir():
        if path.is_file():
            path.unlink()
    learn, steps = Learner.learn, iter(range(100))

    def stopped(self: Learner, x: Any, y: Any) -> Any:
        if next(steps) == 12:
            raise KeyboardInterrupt
        return learn(self, x, y)

    monkeypatch.setattr(Learner, "learn", stopped)
    text = ended(run(*FEW, "--cases", "kp", "--seeds", "0"), 130).stderr
    assert "the same command goes on" in text
    assert not Path("out/tiny/kp-seed0.json").exists()
    ended(run(*FEW, "--cases", "kp", "--seeds", "0"), 0)
    assert timeless(result("kp-seed0")) == wanted


def test_a_divergence_is_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    learn, steps = Learner.learn, iter(range(100))

    def diverging(self: Learner, x: Any, y: Any) -> Any:
        if next(steps) == 7:
            raise NonFiniteLoss("The loss is nan.", "Nothing of this step was taken over.")
        return learn(self, x, y)

    monkeypatch.setattr(Learner, "learn", diverging)
    ended(run(*FEW, "--cases", "bp", "--seeds", "0"), 0)
    tree = result("bp-seed0")
    assert (tree["outcome"], tree["reason"]) == ("diverged", "Epoch 2, step 3: The loss is nan.")
    assert (tree["epochs"]["done"], tree["final"], len(tree["history"]["train_loss"])) == (1, {}, 1)
    assert "diverged in epoch 2" in ended(run(*FEW, "--cases", "bp", "--seeds", "0"), 0).stdout
    ended(run("reproduce", "--page", "page.md", "--folder", "out"), 0)
    assert "| 1 diverged |" in Path("page.md").read_text()


def test_another_recipe_or_limit_is_not_mixed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    one = ("--cases", "bp", "--seeds", "0", "--epochs", "1")
    ended(run(*FEW, *one), 0)
    assert "limit is 100 there and 50 here" in refused(*FEW, *one, "--limit", "50")
    monkeypatch.setitem(STUDIES, "tiny", replace(TINY, cases=(replace(BP, optimizer="sgd:lr=0.2"),)))
    assert "recipe.optimizer is 'sgd:lr=0.1,momentum=0.9' there and 'sgd:lr=0.2' here" in refused(*FEW, *one)
    Path("out/tiny/bp-seed0.json").unlink()
    assert "'out/runs/tiny/bp-seed0' belongs to another run of 'bp'" in refused(*FEW, *one)
    Path("out/runs/tiny/bp-seed0/recipe.json").unlink()
    assert "does not say how the run was begun" in refused(*FEW, *one)


def test_a_page_puts_results_beside_the_paper() -> None:
    ended(run(*FEW, "--cases", "bp", "--seeds", "0,1", "--epochs", "2"), 0)
    ended(run(*FEW, "--cases", "dfa", "--seeds", "0", "--epochs", "2"), 0)
    text = ended(run("reproduce", "--page", "docs/page.md", "--folder", "out"), 0).stdout
    page = Path("docs/page.md").read_text()
    assert text.startswith("docs/page.md, ")
    assert "- [Tiny](#tiny)\n" in page
    lines = page[page.index("## Tiny") :].splitlines()
    header, _, bp, kp, dfa = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|"))
    assert header == [
        "case", "training error in %", "test error in %: paper", "here", "difference", "seeds", "epochs / full",
        "training samples", "minutes",
    ]  # fmt: skip
    one, two = (result(f"bp-seed{seed}")["final"]["test_error"] for seed in (0, 1))
    mean, deviation = (one + two) / 2, abs(one - two) / 2**0.5
    assert (bp[0], bp[2], bp[4], bp[5:8]) == ("`bp`", "10.00", f"{mean - 10:+.2f}", ["2", "2 / 4", "100"])
    assert one != two
    assert bp[3] == f"{mean:.2f} ± {deviation:.2f}"
    assert kp == ["`kp`", "", "10.00", "", "", "", "/ 4", "", ""]
    assert (dfa[2], dfa[4], dfa[5]) == ("", "", "1")
    for name in ("tiny-errors", "tiny-angles"):
        assert f"(figures/{name}.svg)" in page
        assert Path(f"docs/figures/{name}.svg").stat().st_size > 1000


def test_seeds_differ_and_the_same_seed_is_the_same() -> None:
    for folder, seeds in (("out", "0,1"), ("again", "0")):
        ended(run(*FEW, "--folder", folder, "--cases", "bp", "--seeds", seeds, "--epochs", "1"), 0)
    again = json.loads(Path("again/tiny/bp-seed0.json").read_text())
    assert timeless(result("bp-seed0")) == timeless(again)
    assert timeless(result("bp-seed1")) != timeless(again)


def test_the_list_names_every_study() -> None:
    text = ended(run("reproduce", "--list"), 0).stdout
    assert all(name in text for name in STUDIES)
    assert "bp, kp, dfa" in text


def test_errors_say_what_there_is() -> None:
    assert "No study was named. Studies: " in refused("reproduce")
    assert "No study is called 'tinny'. Did you mean 'tiny'?" in refused("reproduce", "tinny")
    assert "has no case that fits 'x*'. Its cases: bp, kp, dfa." in refused(*FEW, "--cases", "x*")
    assert "--seeds is '0,-1'. Write whole numbers from 0 on" in refused(*FEW, "--seeds", "0,-1")
    Path("out/tiny").mkdir(parents=True)
    Path("out/tiny/bp-seed0.json").write_text("{}")
    assert "File 'out/tiny/bp-seed0.json' holds no result" in refused(*FEW, "--cases", "bp", "--seeds", "0")


def test_a_case_that_cannot_be_is_refused() -> None:
    with pytest.raises(TrainingError, match="two cases called 'bp'"):
        replace(TINY, cases=(BP, BP))
    with pytest.raises(TrainingError, match="error_schedule and no error_optimizer"):
        replace(BP, error_schedule="step:every=1,factor=0.5")


def test_every_study_is_listed_under_its_own_name_with_cases_that_its_pictures_fit() -> None:
    for name, study in STUDIES.items():
        assert study.name == name
        assert all(study.fitting(figure.cases) for figure in study.figures)
        assert len({figure.name for figure in study.figures}) == len(study.figures)
