"""Pages about runs: what they show is what the run and its program say, whatever is missing, and nothing in a run folder is executed."""

import base64
import hashlib
import json
import shutil
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from page_case import MODEL, SITES, Page, train
from typer.testing import CliRunner

from compiler import UpdateProgram, compile
from compiler.drawing.diagram import diagram
from runtime import Learner, fit
from runtime.checkpoint import load_tree
from runtime.cli import app
from runtime.data import load_data
from runtime.metrics import Measured
from runtime.models import build_model
from runtime.page import ReportError, read_runs, write_page
from runtime.page.curves import MOST, spread
from runtime.page.document import document
from runtime.page.folding import folded
from runtime.page.trust import check_trusted
from runtime.place import KIND, history_of
from runtime.training import CHECKPOINT
from runtime.watching import ANGLE, SYNAPSE, WEIGHT
from wiring import OUTPUT, Wiring, dkp, parse_wiring, rec_lra

HOSTILE = "</script><script>alert(1)</script><!--@DATA@ \u2028 \ud800 & \"'"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("runs") / "first", "dkp")


@pytest.fixture(scope="module")
def program() -> UpdateProgram:
    torch.manual_seed(0)
    return compile(build_model(MODEL, (1, 8, 8), 10), dkp(), (torch.randn(25, 1, 8, 8), torch.arange(25) % 10))


@pytest.fixture(scope="module")
def page(run: Path) -> dict[str, Any]:
    return document(read_runs([run]), {})


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """A run to spoil."""
    return Path(shutil.copytree(run, tmp_path / "spoilt"))


def shown(folder: Path, program: UpdateProgram | None = None) -> dict[str, Any]:
    """The only run of a page about a folder; a program that is given need not be compiled."""
    runs = read_runs([folder])
    (entry,) = document(runs, {} if program is None else {runs[0].name: program})["runs"]
    found: dict[str, Any] = entry
    return found


# -------------------------------------------------------------- what a page shows


def test_curves_angles_and_norms_are_the_history(run: Path, page: dict[str, Any]) -> None:
    history = history_of(load_tree(run / CHECKPOINT, KIND))
    (entry,) = page["runs"]
    assert entry["state"] == "2 epochs"
    assert entry["curves"]["test_loss"] == pytest.approx([row.test_loss for row in history.epochs], rel=1e-4)
    for prefix, name in ((ANGLE, "angles"), (WEIGHT, "weights"), (SYNAPSE, "synapses")):
        table = entry[name]
        assert table["epochs"] == [0, 1, 2]
        for called, row in zip(table["names"], table["rows"], strict=True):
            assert row == pytest.approx([found.numbers[prefix + called] for found in history.measured], rel=1e-4)
    assert entry["angles"]["names"] == list(SITES)
    assert entry["synapses"]["names"] == ["output->act1", "output->act2"]


def test_the_picture_has_every_box_link_and_wire(page: dict[str, Any], program: UpdateProgram) -> None:
    expected, view = diagram(program), page["programs"][0]["graph"]["views"]["sites"]
    assert [box["name"] for box in view["boxes"]] == list(expected.boxes)
    assert [(link["from"], link["to"]) for link in view["links"]] == list(expected.links)
    assert {(wire["from"], wire["to"]) for wire in view["wires"]} == {(OUTPUT, site) for site in SITES}
    for box in view["boxes"]:
        assert 0 <= box["x"] < box["x"] + box["width"] <= view["width"]
        assert 0 <= box["y"] < box["y"] + box["height"] <= view["height"]


def test_details_of_a_site_have_shapes_and_formulas(page: dict[str, Any]) -> None:
    graph = page["programs"][0]["graph"]
    site = graph["sites"]["act1"]
    assert site["parameters"] == [("hidden1.weight", [16, 64]), ("hidden1.bias", [16])]
    (edge,) = site["hears"]
    assert (edge["source"], edge["shape"]) == (OUTPUT, (10, 16))
    said = [graph["words"][key] for key in (edge["synapse"], edge["plasticity"], site["credit"])]
    assert [key.partition("(")[0] for key, _ in said] == ["dense", "direct_kolen_pollack", "gradient"]
    assert "`d = e B`" in said[0][1]
    assert "z_receiver^T" in said[1][1]
    assert "phi'(h)" in said[2][1]


def test_the_table_is_the_report(page: dict[str, Any], program: UpdateProgram) -> None:
    report, table = program.report(), page["programs"][0]["sites"]
    assert [(row["site"], row["locking"], row["numbers"]) for row in table["rows"]] == [
        (site.name, site.locking, site.error_parameters) for site in report.sites
    ]
    assert table["figures"][0] == (
        "Work a step",
        f"{report.flops / report.bp_flops:.2f} of BP's",
        f"{report.flops / 1e9:.3f} GFLOP against {report.bp_flops / 1e9:.3f}",
    )


def test_lanes_run_every_task_once_and_take_what_is_predicted(page: dict[str, Any], program: UpdateProgram) -> None:
    lanes, report = page["programs"][0]["lanes"], program.report().schedule
    assert [task["name"] for task in lanes["tasks"]] == [task.name for task in program.lowered.tasks.tasks]
    for streams, found in lanes["streams"].items():
        assert sorted(number for number, _, _ in found["spans"]) == list(range(len(lanes["tasks"])))
        assert {stream for _, stream, _ in found["spans"]} <= set(range(streams))
        assert found["seconds"] == pytest.approx(report.predicted_seconds[streams], rel=1e-4)
    assert [lanes["tasks"][number]["name"] for number in lanes["critical"]] == list(report.critical_path)


def test_the_command_says_what_is_not_usual(page: dict[str, Any]) -> None:
    (entry,) = page["runs"]
    assert entry["command"] == f"errorwire train --model {MODEL} --wiring dkp --limit 100 --epochs 2 --batch-size 25"
    assert entry["options"]["seed"] == "0"
    assert entry["versions"].keys() == {"errorwire", "torch", "python", "threads"}


def test_runs_of_one_program_share_it_and_have_names_of_their_own(
    run: Path, copy: Path, program: UpdateProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.page.document.rebuild", lambda shown: program)
    other = Path(shutil.copytree(copy, copy.parent / "first"))
    page = document(read_runs([run, other, copy, copy]), {})
    assert [entry["program"] for entry in page["runs"]] == [0, 0, 0]
    assert [entry["name"] for entry in page["runs"]] == [f"first ({run})", f"first ({other})", "spoilt"]
    assert len(page["programs"]) == 1


def test_blocks_are_folded_to_a_box_each() -> None:
    model = build_model("resnet8:width=2", (1, 8, 8), 10)
    whole = diagram(compile(model, rec_lra(), (torch.randn(2, 1, 8, 8), torch.arange(2))))
    blocks = folded(whole)
    assert blocks is not None
    assert list(blocks.boxes) == ["(input)", "relu", "layer1.0", "layer2.0", "layer3.0", "output"]
    assert {(wire.source, wire.target) for wire in blocks.wires} == {(OUTPUT, box) for box in list(blocks.boxes)[1:-1]}
    assert ("relu", "layer1.0") in blocks.links
    assert blocks.boxes["layer2.0"].shape == whole.boxes["layer2.0.relu:2"].shape


def test_a_chain_has_nothing_to_fold(program: UpdateProgram) -> None:
    assert folded(diagram(program)) is None


def test_long_runs_are_thinned_evenly() -> None:
    found = spread([Measured(epoch, {}) for epoch in range(1001)])
    assert len(found) == MOST
    assert (found[0].epoch, found[-1].epoch) == (0, 1000)
    gaps = {after.epoch - before.epoch for before, after in pairwise(found)}
    assert gaps <= {10, 11}


# -------------------------------------------------------------- the file


def test_one_file_with_one_script_and_nothing_from_elsewhere(run: Path, program: UpdateProgram, tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", read_runs([run]), {"first": program})
    page = Page(tmp_path / "page.html")
    assert page.title == f"dkp on {MODEL} - errorwire"
    assert not [attributes for _, attributes in page.tags if {"src", "srcset", "data-src"} & attributes.keys()]
    assert not [tag for tag, _ in page.tags if tag in ("link", "img", "iframe", "base")]
    policy = next(
        attributes["content"] for tag, attributes in page.tags if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    data, script = page.scripts
    assert f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in policy
    assert "default-src 'none'" in policy
    assert data.isascii()
    assert (tmp_path / "page.html").stat().st_size < 150_000


def test_names_from_a_run_stay_texts(copy: Path, tmp_path: Path) -> None:
    tree = json.loads((copy / "run.json").read_text())
    tree["options"]["model"], tree["options"]["wiring"], tree["versions"][HOSTILE] = HOSTILE, HOSTILE, HOSTILE
    (copy / "run.json").write_text(json.dumps(tree))
    write_page(tmp_path / "page.html", read_runs([copy]))
    page = Page(tmp_path / "page.html")
    assert len(page.scripts) == 2
    (entry,) = page.data["runs"]
    assert entry["options"]["wiring"] == HOSTILE
    assert entry["versions"][HOSTILE] == HOSTILE
    assert "alert(1)" in page.title
    assert not [tag for tag, _ in page.tags if tag == "alert"]


def test_a_page_that_cannot_be_written_leaves_the_old_one(
    run: Path, program: UpdateProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    monkeypatch.setattr("runtime.page.document.html", lambda tree: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_page(path, read_runs([run]), {"first": program})
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


# -------------------------------------------------------------- runs with something missing


def test_an_unfinished_run(copy: Path, program: UpdateProgram) -> None:
    tree = json.loads((copy / "run.json").read_text())
    tree["options"]["epochs"] = 5
    (copy / "run.json").write_text(json.dumps(tree))
    assert shown(copy, program)["state"] == "2 of 5 epochs so far"


def test_a_model_that_is_gone_and_a_run_that_was_not_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nets = "from torch import nn\n\ndef small():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    (tmp_path / "fleeting_nets.py").write_text(nets)
    monkeypatch.chdir(tmp_path)
    folder = train(tmp_path / "run", "bp", watch=False, epochs=1, model="fleeting_nets:small")
    (tmp_path / "fleeting_nets.py").unlink()
    monkeypatch.delitem(sys.modules, "fleeting_nets")
    entry = shown(folder)
    assert entry["program"] is None
    assert "module 'fleeting_nets' cannot be imported" in entry["trouble"]
    assert len(entry["curves"]["test_loss"]) == 1
    assert entry["angles"]["names"] == entry["weights"]["names"] == []
    assert entry["command"].endswith("--no-watch")
    assert not entry["unread"]


def test_a_damaged_checkpoint_leaves_the_metrics(copy: Path, program: UpdateProgram) -> None:
    before = shown(copy, program)["curves"]
    (copy / CHECKPOINT).write_bytes(b"\x80\x04damage")
    entry = shown(copy, program)
    assert entry["curves"]["test_loss"] == before["test_loss"]
    assert entry["angles"]["names"] == []
    assert "checkpoint cannot be read" in entry["notes"][0]
    assert entry["unread"]
    (copy / "run.json").unlink()
    assert "There is no run.json beside the run" in shown(copy)["trouble"]


def test_a_folder_that_fit_wrote(tmp_path: Path, program: UpdateProgram) -> None:
    data, learner = load_data("digits", limit=50), Learner(program)
    fit(
        learner,
        torch.optim.SGD(learner.parameters(), 0.1),
        data.train,
        epochs=1,
        batch_size=25,
        folder=tmp_path / "fit",
        progress=False,
    )
    entry = shown(tmp_path / "fit")
    assert entry["curves"]["test_loss"] == [None]
    assert entry["command"] is None
    assert "no run.json" in entry["notes"][0]


def test_folders_and_files_that_are_no_runs(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"it has neither run\.json nor comparison\.json\. Give a folder that errorwire train"):
        read_runs([tmp_path])
    with pytest.raises(ReportError, match="there is no such folder"):
        read_runs([tmp_path / "nowhere"])
    for name in ("n" * 5000, "a\0b"):
        with pytest.raises(ReportError, match="Give a folder"):
            read_runs([Path(name)])
    for text in ("{", "[1]", '{"options": 3}', '{"data": {"input_shape": [0], "classes": 1}}', "[" * 10_000):
        (copy / "run.json").write_text(text)
        with pytest.raises(ReportError, match="Give"):
            read_runs([copy])
    (copy / "comparison.json").write_text('{"model": "mlp"}')
    with pytest.raises(ReportError, match="no comparison that errorwire wrote"):
        read_runs([copy])


def test_metrics_of_something_else(copy: Path) -> None:
    (copy / CHECKPOINT).unlink()
    (copy / "metrics.csv").write_text("epoch,step\n1,x\n")
    with pytest.raises(ReportError, match=r"metrics\.csv' holds no metrics"):
        read_runs([copy])


# -------------------------------------------------------------- nothing is executed


def test_a_module_in_the_run_folder_is_not_imported(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copy / "evil.py").write_text("from pathlib import Path\nPath('executed').touch()\n")
    monkeypatch.chdir(copy.parent)
    tree = json.loads((copy / "run.json").read_text())
    tree["options"]["model"] = "spoilt.evil:net"
    (copy / "run.json").write_text(json.dumps(tree))
    assert "lies in the run folder itself" in shown(copy)["trouble"]
    assert not (copy.parent / "executed").exists()


@pytest.mark.parametrize("model", [" dfa_net:run", "dfa_net\t:run", " mlp:run", "mlp :run"])
def test_blanks_lead_no_module_in_the_run_folder_past_the_check(copy: Path, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    for name in ("mlp", "dfa_net"):
        (copy / f"{name}.py").write_text("from pathlib import Path\nPath('executed').touch()\ndef run(): pass\n")
    monkeypatch.chdir(copy)
    tree = json.loads((copy / "run.json").read_text())
    tree["options"]["model"] = model
    (copy / "run.json").write_text(json.dumps(tree))
    assert shown(copy)["trouble"]
    assert not (copy / "executed").exists()


@pytest.mark.parametrize("model", ["os:system:command=touch", "subprocess:getoutput:cmd=x", "torch:load:f=x.pkl", "torch.hub:load"])
def test_factories_that_make_no_models_are_not_called(model: str, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="holds no models"):
        check_trusted(model, tmp_path)


@pytest.mark.parametrize("model", ["resnet8", "mlp:width=3", "tests.nowhere:net", "page_case:train", ""])
def test_models_that_train_takes_are_trusted(model: str, tmp_path: Path) -> None:
    check_trusted(model, tmp_path)


def test_absurd_sizes_are_not_compiled(copy: Path) -> None:
    tree = json.loads((copy / "run.json").read_text())
    tree["options"]["batch_size"] = 10**12
    (copy / "run.json").write_text(json.dumps(tree))
    assert "are not compiled for a page" in shown(copy)["trouble"]


# -------------------------------------------------------------- the command


def told(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output


def test_the_command_writes_beside_the_run_or_where_it_is_told_to(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.page.document.rebuild", lambda run: (_ for _ in ()).throw(ReportError("not now")))
    assert told("report", str(copy)) == (0, f"Written to {copy / 'report.html'}\n")
    elsewhere = copy.parent / "new" / "page.html"
    assert told("report", str(copy), "--to", str(elsewhere))[0] == 0
    assert Page(elsewhere).data["runs"][0]["name"] == "spoilt"
    code, text = told("report", str(copy), "--to", "page.png")
    assert code == 2
    assert "Write --to page.html" in text.replace("\n", "")
    code, text = told("report", str(copy / "nowhere"))
    assert (code, text.count("\n")) == (2, 1)


def test_compare_writes_its_page_and_report_writes_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "compared"
    arguments = ("--model", MODEL, "--limit", "60", "--epochs", "1", "--folder", str(folder))
    assert told("compare", "bp", "dfa", *arguments)[0] == 0
    first = Page(folder / "report.html").data
    assert [entry["name"] for entry in first["runs"]] == ["bp", "dfa"]
    assert [entry["program"] for entry in first["runs"]] == [0, 1]
    assert first["runs"][1]["angles"]["epochs"] == [0, 1]
    (edge,) = first["programs"][0]["graph"]["sites"]["act1"]["hears"]
    assert (edge["mirrored"], edge["plasticity"]) == ([["hidden2.weight", [16, 16]]], None)
    assert first["runs"][1]["figures"].keys() == {"step time / BP", "ms a step", "mean angle to BP"}
    (folder / "report.html").unlink()
    monkeypatch.setattr(
        "runtime.page.document.rebuild", lambda run: (_ for _ in ()).throw(ReportError(f"{run.shape} {run.record}"))
    )
    assert told("report", str(folder))[0] == 0
    for before, after in zip(first["runs"], Page(folder / "report.html").data["runs"], strict=True):
        shape, record = after["trouble"].split(") ", 1)
        assert (shape, Wiring.from_json(record)) == ("(1, 8, 8", parse_wiring(before["name"]))
        assert {**before, "program": None, "trouble": None} == {**after, "trouble": None}
