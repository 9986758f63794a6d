"""Fuzzing the command line: every command with near-valid and arbitrary options, in a folder with a run, wirings and rubbish in it.

What a command does behind its checks is left out: training ends before its first step, and but for one line in ``REAL`` no model is compiled.
"""

import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from fuzz.guard import scratch
from fuzz.values import HUGE, ODD, TEXTS
from hypothesis import strategies as st
from typer.testing import CliRunner

import compiler
import runtime.compare
import runtime.jobs
from compiler.errors import CaptureError
from runtime.cli import app
from runtime.data import DATA_SETS, load_data
from runtime.errors import TrainingError
from runtime.models import MODELS
from runtime.models.registry import parse_model
from wiring import PRESETS, parse_wiring
from wiring.errors import ErrorwireError

REAL = 200
"""One line in so many compiles its model: those that draw ``TURN``, a number that Hypothesis does not prefer."""
TURN = 77

TEXT = st.one_of(
    st.text(st.characters(exclude_characters="\0"), max_size=12),
    st.sampled_from([text for text in TEXTS if "\0" not in text]),
    st.sampled_from(
        ["\udce9.json", "a b", "-1", "--", "x=y", "a:b:c", ":", "=", ",", "1e9", "0x10", "'", '"', "none", "True", "[bold]", "[/]"]
    ),
)
NUMBERS = st.one_of(st.integers(-2, 70), st.sampled_from(HUGE), st.sampled_from(ODD), st.floats(), TEXT).map(str)
OPTION_NAMES = st.sampled_from(
    [
        "width", "depth", "gap", "beta", "gamma", "kappa", "form", "activation", "dropout", "sites", "frozen", "reprojection", "reduction",
        "update", "credit.kappa", "plasticity.sign", "plasticity.kind", "synapse.kind", "synapse.init.kind", "topology.levels", "signal",
        "fan_in", "kernel", "classes", "input_shape", "credit", "topology.kind", "synapse.size", "sites.include",
    ]
)  # fmt: skip
VALUES = st.one_of(NUMBERS, st.sampled_from(["tanh", "relu", "sign", "dense", "hebbian", "sum", "conv*|fc", "none", "true"]), TEXT)


@st.composite
def _call(draw: st.DrawFn, names: list[str]) -> str:
    """``name:key=value,...``"""
    name = draw(st.one_of(st.sampled_from(names), TEXT))
    options = draw(st.lists(st.tuples(st.one_of(OPTION_NAMES, TEXT), VALUES), max_size=3))
    return f"{name}:{','.join(f'{key}={value}' for key, value in options)}" if options else name


WIRING = st.one_of(_call(sorted(PRESETS)), st.sampled_from(["good.json", "bad.json", "deep.json", "no.json", "folder.json"]))
MODEL = st.one_of(
    _call(sorted(MODELS)),
    st.sampled_from(["mlp:width=4,depth=1", "mlp:width=4,depth=1", "cnn:width=2", "good.json:x", "no.such:thing"]),
)
PATHS = st.sampled_from(
    ["run", "new", "run/run.json", "broken", "run/new", "", ".", "./run/../new", "link", "\udce9", "n" * 300, "a/b/c"]
)
SHAPES = st.one_of(
    st.sampled_from(
        [
            "1x8x8",
            "3x4x4",
            "6",
            "99999999x9999999",
            "0x1x1",
            "1x1",
            "x",
            "1x",
            "-1x2",
            "1X2X3",
            "³x2",
            "1x" * 30 + "1",
            "2000000000",
        ]
    ),
    st.lists(st.sampled_from(["1", "2", "8", "1" + "0" * 20, "99999", "٣"]), max_size=5).map("x".join),
    TEXT,
)
DATA = st.one_of(st.sampled_from(["digits", *DATA_SETS]), TEXT)
OPTIONS: dict[str, st.SearchStrategy[str]] = {
    "--model": MODEL, "--wiring": WIRING, "--data": DATA, "--data-folder": PATHS, "--limit": NUMBERS, "--epochs": NUMBERS,
    "--batch-size": NUMBERS, "--optimizer": st.sampled_from(["adam", "sgd", "adamw", "lbfgs"]), "--lr": NUMBERS, "--error-lr": NUMBERS,
    "--momentum": NUMBERS, "--weight-decay": NUMBERS, "--clip-norm": NUMBERS, "--seed": NUMBERS, "--autocast": st.sampled_from(["bf16", "f8"]),
    "--layout": st.sampled_from(["preserve", "channels_last", "x"]),
    "--backend": st.one_of(st.sampled_from(["serial", "threads", "auto", "graph"]), TEXT),
    "--streams": NUMBERS, "--threads": NUMBERS, "--folder": PATHS, "--checkpoint-every": NUMBERS, "--input-shape": SHAPES,
    "--classes": NUMBERS, "--seeds": st.one_of(st.just("0,1"), NUMBERS), "--cases": TEXT, "--page": PATHS, "--to": PATHS,
}  # fmt: skip
USUAL = {
    "--model": ["mlp:width=4,depth=1"], "--wiring": ["dfa", "good.json"], "--data": ["digits"], "--limit": ["5"], "--epochs": ["1"],
    "--batch-size": ["2"], "--lr": ["0.1"], "--momentum": ["0.9"], "--clip-norm": ["1"], "--seed": ["3"], "--folder": ["run", "new"],
    "--streams": ["2"], "--threads": ["1"], "--input-shape": ["1x8x8"], "--classes": ["10"], "--seeds": ["0"], "--cases": ["*"],
    "--backend": ["serial"], "--checkpoint-every": ["2"], "--error-lr": ["1e-3"], "--weight-decay": ["0"],
}  # fmt: skip
FLAGS = ["--resume", "--no-standardise", "--json", "--list", "--help", "--version", "--no-watch"]
TRAINING = [
    "--model", "--wiring", "--data", "--data-folder", "--limit", "--epochs", "--batch-size", "--optimizer", "--lr", "--error-lr", "--momentum",
    "--weight-decay", "--clip-norm", "--seed", "--autocast", "--layout", "--backend", "--streams", "--threads", "--folder",
]  # fmt: skip
COMMANDS = {
    "train": [*TRAINING, "--checkpoint-every"], "compare": [name for name in TRAINING if name != "--wiring"],
    "explain": ["--model", "--wiring", "--input-shape", "--classes", "--batch-size"],
    "draw": ["--model", "--wiring", "--input-shape"], "timeline": ["--model", "--wiring", "--input-shape", "--streams", "--backend"],
    "reproduce": ["--seeds", "--cases", "--epochs", "--limit", "--folder"], "list": [], "report": ["--to"],
}  # fmt: skip
ARGUMENTS = {
    "compare": WIRING,
    "draw": PATHS,
    "timeline": PATHS,
    "reproduce": st.one_of(st.just("drtp_classification"), TEXT),
    "report": PATHS,
}


@st.composite
def _line(draw: st.DrawFn) -> list[str]:
    command = draw(st.sampled_from([*COMMANDS, *COMMANDS, "tran", ""]))
    usual = COMMANDS.get(command, TRAINING)
    needed = [name for name in ("--model", "--wiring") if name in usual and draw(st.integers(0, 20))]
    chosen = draw(st.lists(st.sampled_from(usual * 60 + list(OPTIONS)), max_size=4)) if usual else []
    words = [command]
    for name in dict.fromkeys([*needed, *chosen]):
        usual_value = draw(st.integers(0, 2)) and name in USUAL
        words += [name, draw(st.sampled_from(USUAL[name]) if usual_value else OPTIONS[name])]
    words += draw(st.lists(st.sampled_from(FLAGS), max_size=1))
    words += draw(st.lists(ARGUMENTS.get(command, TEXT), min_size=command in ARGUMENTS, max_size=2 if command in ARGUMENTS else 0))
    return words + draw(st.lists(TEXT, max_size=1)) if draw(st.integers(0, 9)) == 0 else words


STRATEGY = st.tuples(_line(), st.integers(0, REAL - 1))


DIGITS = load_data("digits", limit=20)


def _stopped(*_: Any, **__: Any) -> Any:
    raise TrainingError("Stopped here.")


def _not_compiled(*_: Any, **__: Any) -> Any:
    raise CaptureError("Not compiled.")


@contextmanager
def _light(compiling: bool) -> Iterator[None]:
    """The command without its work."""
    threads, path = torch.get_num_threads(), list(sys.path)
    with ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, SCIKIT_LEARN_DATA=tempfile.gettempdir()))
        for draw in ("kaiming_uniform_", "uniform_", "normal_", "trunc_normal_", "kaiming_normal_", "xavier_uniform_"):
            stack.enter_context(mock.patch(f"torch.nn.init.{draw}", lambda tensor, *_, **__: tensor))
        stack.enter_context(mock.patch.dict(DATA_SETS, digits=lambda *_: DIGITS))
        for place in ("runtime.recipe.fit", "runtime.compare.step_times", "runtime.measure_timeline"):
            stack.enter_context(mock.patch(place, _stopped))
        stack.enter_context(mock.patch("runtime.reproduce.engine.Run.work", _stopped))
        if not compiling:
            for module in (compiler, runtime.jobs, runtime.compare):
                stack.enter_context(mock.patch.object(module, "compile", _not_compiled))
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            sys.path[:] = path


def _furnish(folder: Path) -> None:
    """A run, files that are none, and links."""
    (folder / "run").mkdir()
    (folder / "broken").mkdir()
    (folder / "folder.json").mkdir()
    (folder / "run" / "checkpoint.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    (folder / "run" / "run.json").write_text('{"options": {"model": "mlp:width=4,depth=1", "wiring": "dfa"}}')
    (folder / "broken" / "run.json").write_text('{"options": 3')
    (folder / "broken" / "checkpoint.safetensors").write_bytes(b"")
    (folder / "good.json").write_text(parse_wiring("dfa").to_json())
    (folder / "bad.json").write_bytes(b"\xff\xfe{")
    (folder / "deep.json").write_text("[" * 9000)
    (folder / "link").symlink_to("nowhere")


def _imports(words: list[str]) -> bool:
    """Whether a word names a module of this machine: to import what the user names is what the command is for."""
    for word in words:
        module, _ = parse_model(word)
        if module is not None and re.fullmatch(r"[\w.]+", module):
            try:
                if importlib.util.find_spec(module) is not None:
                    return True
            except (ImportError, ValueError, AttributeError):
                continue
    return False


def check(example: tuple[list[str], int]) -> str:
    """Run a command line; it ends well, or in a usage error, or in one line with an error of ours."""
    words, turn = example
    if _imports(words):
        return "imports a module"
    here = Path.cwd()
    with scratch() as folder:
        os.chdir(folder)
        try:
            _furnish(folder)
            with _light(turn == TURN and words[0] in ("explain", "train")):
                result = CliRunner().invoke(app, words, prog_name="errorwire")
        finally:
            os.chdir(here)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code in (0, 1, 2), f"code {result.exit_code}"
    assert "Traceback" not in result.output
    cause = result.exception.__context__ if result.exception else None
    ours = cause.__cause__ if cause is not None and isinstance(cause.__cause__, ErrorwireError) else None
    return f"{type(ours).__name__ if ours else 'usage' if result.exit_code == 2 else 'done'}"
