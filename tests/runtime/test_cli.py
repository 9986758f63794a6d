"""The command: what it prints, what it writes, how it ends."""

import csv
import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import runtime.recipe
from compiler import UpdateProgram, WiringWarning, WorldWarning
from runtime import TrainingWarning
from runtime.cli import app
from runtime.console import told
from runtime.models import MODELS
from wiring import PRESETS, PluginWarning, Wiring, parse_wiring
from wiring.plugins import load_plugins

MODEL = ("--model", "mlp:width=16,depth=2")
SHAPE = ("--input-shape", "1x8x8")
QUICK = (*MODEL, "--limit", "100", "--epochs", "2")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands write below the current directory."""
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def ended(result: Result, code: int) -> Result:
    assert result.exit_code == code, f"{result.stdout}\n{result.stderr}\n{result.exception!r}"
    return result


def refused(*arguments: str) -> str:
    """The one line on standard error that a refused command ends with."""
    result = ended(run(*arguments), 2)
    assert "Traceback" not in result.output
    *_, line = result.stderr.strip().splitlines()
    return line


# -------------------------------------------------------------- list, help, version


def test_list_names_every_preset_model_and_data_set() -> None:
    text = ended(run("list"), 0).stdout
    assert all(name in text for name in (*PRESETS, *MODELS, "digits", "mnist", "fashion-mnist", "cifar10"))
    assert "form=usf|brsf|frsf" in text
    assert "gap=none" in text
    assert "width=128, depth=3, activation=tanh" in text


def test_help_names_every_command() -> None:
    text = ended(run("--help"), 0).stdout
    assert all(name in text for name in ("train", "compare", "explain", "draw", "timeline", "list"))


def test_version() -> None:
    assert ended(run("--version"), 0).stdout.startswith("errorwire 0.")


def test_the_package_runs_as_the_command() -> None:
    text = subprocess.run([sys.executable, "-m", "runtime", "--version"], capture_output=True, text=True, check=True).stdout
    assert text.startswith("errorwire 0.")


# -------------------------------------------------------------- explain, draw


def test_explain_prints_the_report() -> None:
    text = ended(run("explain", *MODEL, "--wiring", "dfa", *SHAPE), 0).stdout
    assert text.startswith("dfa on Sequential, batch 32")
    assert "backward-unlocked" in text
    assert "error 320" in text


def test_explain_as_json() -> None:
    tree = json.loads(ended(run("explain", *MODEL, "--wiring", "dfa", *SHAPE, "--batch-size", "4", "--json"), 0).stdout)
    assert (tree["wiring"], tree["batch"], tree["error_parameters"]) == ("dfa", 4, 320)


def test_classes_and_shape_reach_the_model() -> None:
    tree = json.loads(
        ended(run("explain", *MODEL, "--wiring", "bp", "--input-shape", "2X3x5", "--classes", "3", "--json"), 0).stdout
    )
    assert tree["forward_parameters"] == 30 * 16 + 16 + 16 * 16 + 16 + 16 * 3 + 3


def test_a_wiring_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(parse_wiring("rec_lra:beta=0.3").to_json())
    assert "hebbian" in ended(run("explain", *MODEL, "--wiring", "mine.json", *SHAPE), 0).stdout


def test_draw_hands_the_path_to_the_program(tmp_path: Path) -> None:
    ended(run("draw", *MODEL, "--wiring", "dfa", "net.svg", *SHAPE), 0)
    assert "</svg>" in (tmp_path / "net.svg").read_text()


def test_a_warning_is_one_yellow_line() -> None:
    result = ended(run("explain", "--model", "mlp:width=16,depth=2,activation=relu", "--wiring", "drtp", *SHAPE), 0)
    assert result.stderr.count("Warning: Wiring 'drtp' sends targets to") == 1
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("kind", [WiringWarning, WorldWarning, PluginWarning, TrainingWarning])
def test_every_warning_of_ours_is_one_line_and_given_once(kind: type[Warning], capsys: pytest.CaptureFixture[str]) -> None:
    with told():
        for _ in range(2):
            warnings.warn("Something is unusual. Mend it.", kind, stacklevel=1)
    assert capsys.readouterr().err == "Warning: Something is unusual. Mend it.\n"


def test_a_warning_of_somebody_elses_stays_as_it_is() -> None:
    with pytest.warns(UserWarning, match="theirs"), told():
        warnings.warn("theirs", stacklevel=1)


def test_a_broken_plugin_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    load_plugins.cache_clear()
    info = tmp_path / "broken-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[errorwire]\nbroken = there_is_no_such_module\n")
    (line,) = ended(run("list"), 0).stderr.splitlines()
    load_plugins.cache_clear()
    assert line.startswith("Warning: Plug-in 'broken' (there_is_no_such_module) of distribution 'broken' 1.2 cannot be loaded:")
    assert line.endswith("Mend or uninstall it.")


# -------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--wiring", "rec_lra:dpth=2"), "Error: Preset 'rec_lra' has no option 'dpth'. It takes: depth, gap"),
        (("--wiring", "rec_lra:depth"), "Error: Option 'depth' in 'rec_lra:depth' is not of the form key=value."),
        (("--wiring", "dfaa"), "Error: No preset is called 'dfaa'. Did you mean"),
        (("--wiring", "no.json"), "Error: Wiring file 'no.json' cannot be read"),
        (("--wiring", "dfa", "--input-shape", "3by3"), "Error: The option --input-shape is '3by3'. Write whole numbers"),
        (("--wiring", "dfa", "--input-shape", "0x8x8"), "Error: The option --input-shape is '0x8x8'."),
        (("--wiring", "dfa", "--model", "mlpp"), "Error: Model 'mlpp' is not known. Did you mean 'mlp'?"),
        (("--wiring", "dfa", "--model", "mlp:width=0"), "Error: Model 'mlp:width=0': option 'width' is 0."),
    ],
)
def test_what_explain_refuses(arguments: tuple[str, ...], message: str) -> None:
    assert refused("explain", *MODEL, *SHAPE, *arguments).startswith(message)


def test_a_model_of_another_input_shape_is_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "narrow_nets.py").write_text(
        "from torch import nn\n\ndef narrow(classes):\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))\n"
    )
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    logger.addHandler(caplog.handler)
    result = ended(run("explain", "--model", "narrow_nets:narrow", "--wiring", "bp"), 2)
    logger.removeHandler(caplog.handler)
    (line,) = result.stderr.splitlines()
    assert line.startswith(
        "Error: Model 'narrow_nets:narrow' fails by itself on random inputs, --batch-size 32 of --input-shape 3x32x32: mat1 and mat2"
    )
    assert line.endswith("Give an --input-shape and a --batch-size that it takes.")
    assert not [record for record in caplog.records if record.name == logger.name]


def test_an_empty_path_is_refused() -> None:
    for arguments in (
        ("train", *QUICK, "--wiring", "dfa", "--folder", ""),
        ("report", ""),
        ("draw", *MODEL, "--wiring", "dfa", ""),
    ):
        assert "The path is empty." in ended(run(*arguments), 2).stderr


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    ended(run("draw", *MODEL, "--wiring", "dfa", *SHAPE, "~/net.dot"), 0)
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["net.dot"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "digit"), "Error: Data 'digit' is not known. Did you mean 'digits'?"),
        (("--data", "mnist", "--data-folder", "no"), "Error: Data 'mnist' needs train-images-idx3-ubyte"),
        (("--momentum", "0.9"), "Error: The option --momentum is SGD's, not adam's."),
        (("--lr", "nan"), "Error: The option --lr is nan."),
        (("--resume",), "Error: The option --resume needs the run that it goes on with. Give its --folder."),
        (
            ("--resume", "--folder", "no"),
            "Error: There is no run to resume in 'no': it has no checkpoint.safetensors. Check the --folder, or leave --resume out.",
        ),
        (("--folder", "/dev/null/no"), "Error: The folder '/dev/null/no' cannot be made (Not a directory). Choose another."),
    ],
)
def test_what_train_refuses(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    assert refused("train", *QUICK, "--wiring", "dfa", *arguments).startswith(message)
    assert not list(tmp_path.iterdir())


def test_a_mistyped_option_is_told_with_its_choices() -> None:
    assert "'adam'" in ended(run("train", *QUICK, "--wiring", "dfa", "--optimizer", "rms"), 2).stderr
    ended(run("train", "--wiring", "dfa"), 2)
    ended(run("compare", *MODEL), 2)


def test_an_unexpected_exception_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(program: UpdateProgram) -> None:
        raise KeyError("lost")

    monkeypatch.setattr(UpdateProgram, "report", broken)
    result = run("explain", *MODEL, "--wiring", "dfa", *SHAPE)
    assert isinstance(result.exception, KeyError)


# -------------------------------------------------------------- train


def test_train_keeps_everything_in_a_new_folder(tmp_path: Path) -> None:
    text = ended(run("train", *QUICK, "--wiring", "rec_lra:beta=0.2", "--seed", "3"), 0).stdout
    folder = tmp_path / "runs" / "mlp_width=16,depth=2-rec_lra_beta=0.2"
    assert "1,482 parameters, sites: 2" in text
    assert "320 error parameters" in text
    assert "of BP's FLOPs" in text
    assert "100 training and 100 test images 1x8x8, standardised" in text
    assert "epoch 2/2" in text
    assert text.strip().splitlines()[-1].startswith("Test accuracy ")
    names = {"checkpoint.safetensors", "curves.png", "curves.svg", "metrics.csv", "run.json", "wiring.json"}
    assert names <= {path.name for path in folder.iterdir()}
    assert Wiring.from_json((folder / "wiring.json").read_text()) == parse_wiring("rec_lra:beta=0.2")
    options = json.loads((folder / "run.json").read_text())["options"]
    assert (options["seed"], options["lr"], options["limit"], options["standardise"]) == (3, 1e-3, 100, True)
    with (folder / "metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]
    ended(run("train", *QUICK, "--wiring", "rec_lra:beta=0.2", "--seed", "3"), 0)
    assert (folder.parent / f"{folder.name}-2" / "metrics.csv").exists()


def test_a_resumed_run_is_the_run_in_one_go(tmp_path: Path) -> None:
    order = ("train", *MODEL, "--limit", "100", "--wiring", "dkp", "--optimizer", "sgd", "--momentum", "0.9", "--lr", "0.05")
    ended(run(*order, "--epochs", "3", "--folder", "whole"), 0)
    ended(run(*order, "--epochs", "1", "--folder", "parts"), 0)
    text = ended(run(*order, "--epochs", "3", "--folder", "parts", "--resume"), 0).stdout
    assert "epoch 1/" not in text
    losses = []
    for folder in ("whole", "parts"):
        with (tmp_path / folder / "metrics.csv").open() as file:
            losses.append([(row["train_loss"], row["test_loss"]) for row in csv.DictReader(file)])
    assert losses[0] == losses[1]
    assert json.loads((tmp_path / "parts" / "run.json").read_text())["options"]["epochs"] == 3


def test_a_run_is_not_overwritten_and_not_resumed_as_another(tmp_path: Path) -> None:
    order = ("train", *QUICK, "--wiring", "dfa", "--folder", "one")
    ended(run(*order), 0)
    told = "Error: There is a run in 'one' already, which a new one would overwrite. Go on with it by --resume, or choose another --folder."
    assert refused(*order) == told
    message = refused(*order, "--resume", "--no-standardise")
    assert message.startswith("Error: The run in 'one' was begun with standardise True, not False.")
    (tmp_path / "one" / "run.json").write_text("{}")
    assert refused(*order, "--resume").startswith("Error: File 'one/run.json' does not say how the run was begun")


def test_what_resume_refuses_changes_nothing(tmp_path: Path) -> None:
    order = ("train", *MODEL, "--limit", "100", "--folder", "one")
    ended(run(*order, "--wiring", "dfa", "--epochs", "2"), 0)
    kept = {name: (tmp_path / "one" / name).read_bytes() for name in ("run.json", "wiring.json", "checkpoint.safetensors")}
    refusals = {
        ("fa", "3"): "Error: The run in 'one' was begun with another wiring: ",
        ("dfa", "1"): "Error: The option --epochs is 1, but 2 epochs of the run in 'one' are done. Give 2 or more.",
    }
    for (wiring, epochs), message in refusals.items():
        assert refused(*order, "--wiring", wiring, "--epochs", epochs, "--resume").startswith(message)
        assert {name: (tmp_path / "one" / name).read_bytes() for name in kept} == kept
    message = refused(*order, "--wiring", "dfa", "--epochs", "2", "--batch-size", "16", "--resume")
    assert "--data-folder, --watch, --threads and --checkpoint-every may change." in message
    (tmp_path / "one" / "checkpoint.safetensors").write_bytes(b"damage")
    assert "Checkpoint 'one/checkpoint.safetensors'" in refused(*order, "--wiring", "dfa", "--epochs", "3", "--resume")
    assert all((tmp_path / "one" / name).read_bytes() == kept[name] for name in ("run.json", "wiring.json"))


def test_a_last_batch_that_the_model_does_not_take_shows_at_once(tmp_path: Path) -> None:
    (tmp_path / "one_sample_nets.py").write_text(
        "from torch import nn\n\ndef normed(classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, classes))\n"
    )
    order = ("train", "--model", "one_sample_nets:normed", "--wiring", "dfa", "--epochs", "1", "--limit")
    message = refused(*order, "33", "--folder", "one")
    assert message.startswith("Error: The last batch of an epoch has 1 sample: 33 training images in batches of 32.")
    assert message.endswith("Choose another --batch-size or --limit.")
    assert not (tmp_path / "one").exists()
    ended(run(*order, "34", "--folder", "two"), 0)


def test_pixels_stay_as_they_are_where_asked() -> None:
    text = ended(run("train", *QUICK, "--wiring", "bp", "--no-standardise"), 0).stdout
    assert "images 1x8x8\n" in text


def test_mixed_precision_and_threads() -> None:
    ended(run("train", *QUICK, "--wiring", "dfa", "--autocast", "bf16", "--threads", "1"), 0)


def test_the_layout_is_kept_with_the_run() -> None:
    order = ("train", "--model", "cnn:width=2,depth=1", "--limit", "40", "--epochs", "1", "--wiring", "dfa", "--folder", "one")
    ended(run(*order, "--layout", "channels_last"), 0)
    assert json.loads(Path("one/run.json").read_text())["options"]["layout"] == "channels_last"
    assert "was begun with layout 'channels_last', not 'preserve'." in refused(*order, "--resume")
    ended(run(*order, "--layout", "channels_last", "--resume"), 0)
    shown = [
        json.loads(ended(run("explain", *order[1:3], "--wiring", "dfa", *SHAPE, "--json", "--layout", layout), 0).stdout)
        for layout in ("preserve", "channels_last")
    ]
    assert shown[0]["flops"] == shown[1]["flops"]


def test_a_diverging_run_ends_with_a_message() -> None:
    order = ("train", "--model", "mlp:width=16,activation=relu", "--limit", "100", "--epochs", "1", "--wiring", "bp")
    assert "The loss is nan" in refused(*order, "--optimizer", "sgd", "--lr", "1e9")


def interrupted(original: Callable[..., object]) -> Callable[..., object]:
    def fit(*arguments: object, **keywords: object) -> object:
        original(*arguments, **keywords)
        raise KeyboardInterrupt

    return fit


def test_ctrl_c_says_where_the_checkpoint_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime.recipe, "fit", interrupted(runtime.recipe.fit))
    line = ended(run("train", *QUICK, "--wiring", "dfa", "--folder", "one"), 130).stderr.strip()
    assert line.startswith("Interrupted: the checkpoint lies in 'one/checkpoint.safetensors'.")
    assert "--folder one --resume" in line


# -------------------------------------------------------------- compare


def test_compare_prints_a_table_and_keeps_numbers_and_pictures(tmp_path: Path) -> None:
    result = ended(run("compare", "dfa", "rec_lra:depth=1", *QUICK, "--folder", "out"), 0)
    lines = result.stdout.splitlines()
    assert lines[0].startswith("bp: test accuracy")
    for name in ("bp", "dfa", "rec_lra:depth=1"):
        assert any(line.startswith(f"{name} ") and "°" in line and "±" in line for line in lines)
    pictures = {f"{name}.{kind}" for name in ("accuracy", "step_time", "angles") for kind in ("png", "svg")}
    assert {path.name for path in (tmp_path / "out").iterdir()} == pictures | {"comparison.json", "comparison.csv", "report.html"}
    tree = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert [row["wiring"] for row in tree["rows"]] == ["bp", "dfa", "rec_lra:depth=1"]


def test_runs_and_comparisons_do_not_share_a_folder(tmp_path: Path) -> None:
    ended(run("train", *QUICK, "--wiring", "dfa", "--folder", "trained"), 0)
    (tmp_path / "compared").mkdir()
    (tmp_path / "compared" / "comparison.json").write_text("{}")
    for folder, what in (("trained", "run"), ("compared", "comparison")):
        message = refused("compare", "fa", *QUICK, "--folder", folder)
        assert message.startswith(f"Error: There is a {what} in '{folder}' already")
        assert message.endswith("Choose another --folder.")
    assert not (tmp_path / "trained" / "comparison.json").exists()
    assert "There is a comparison in 'compared' already" in refused("train", *QUICK, "--wiring", "dfa", "--folder", "compared")
    assert [path.name for path in (tmp_path / "compared").iterdir()] == ["comparison.json"]


def test_compare_goes_on_when_one_fails_and_fails_when_all_do(tmp_path: Path) -> None:
    (tmp_path / "w.json").write_text(parse_wiring("dfa").model_copy(update={"frozen": ("no.such",)}).to_json())
    result = ended(run("compare", "w.json", "fa", *QUICK), 0)
    assert "w.json refused: " in result.stdout
    result = ended(run("compare", "w.json", *QUICK), 1)
    assert "bp: test accuracy" in result.stdout


def test_compare_refuses_a_wrong_text_before_it_trains(tmp_path: Path) -> None:
    assert refused("compare", "fa", "dfa:x=1", *QUICK).startswith(
        "Error: Preset 'dfa' has no option 'x'. It takes: reduction, kappa. Every wiring takes: sites"
    )
    assert not (tmp_path / "runs").exists()
