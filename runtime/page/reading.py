"""Run folders -> runs. Files are read as JSON, CSV and safetensors; nothing in them is executed, and no pickle is loaded."""

import csv
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from runtime.metrics import EpochMetrics, History
from runtime.page.errors import ReportError
from runtime.page.record import Shown
from runtime.place import history_of, read_run
from runtime.training import CHECKPOINT
from runtime.tree import CheckpointError

PAGE = "report.html"
WHOLE = ("epoch", "step")
MALFORMED = (ValueError, TypeError, KeyError, AttributeError, RecursionError)  # what a foreign file makes of code that reads ours


def page_path(folders: Sequence[Path], wanted: Path | None) -> Path:
    """Where a page about the runs in ``folders`` goes: where it is wanted, else beside the run, or here for several.

    Raises:
        ReportError: the wanted file is no ``.html`` file.
    """
    if wanted is None:
        return folders[0] / PAGE if len(folders) == 1 else Path(PAGE)
    if wanted.suffix.lower() not in (".html", ".htm"):
        raise ReportError(
            f"'{wanted}' does not end in .html, as a page does. Write --to {wanted.with_suffix('.html') if wanted.name else 'report.html'}."
        )
    return wanted


def read_runs(folders: Sequence[Path]) -> list[Shown]:
    """The runs in folders that ``train`` or ``compare`` wrote, finished or not; each with a name of its own.

    Raises:
        ReportError: a folder that holds no run, or a file in it that is none of ours.
    """
    different = {folder.absolute(): folder for folder in folders}
    found = [run for folder in different.values() for run in _runs(folder)]
    names = Counter(run.name for run in found)  # those that are called alike are told apart by their folders
    return [run if names[run.name] == 1 else replace(run, name=f"{run.name} ({run.folder})") for run in found]


def _runs(folder: Path) -> list[Shown]:
    try:
        return _found(folder)
    except OSError as problem:  # no right to look, a name that is too long
        raise ReportError(f"'{folder}' cannot be read ({problem.strerror}). Give a folder that errorwire wrote.") from problem


def _found(folder: Path) -> list[Shown]:
    if (folder / "comparison.json").is_file():
        return comparison_runs(_tree(folder / "comparison.json"), folder)
    if any((folder / name).is_file() for name in ("run.json", CHECKPOINT, "metrics.csv")):
        return [_run(folder)]
    there = "it has neither run.json nor comparison.json" if folder.is_dir() else "there is no such folder"
    raise ReportError(f"'{folder}' is no run: {there}. Give a folder that errorwire train or errorwire compare wrote.")


def _run(folder: Path) -> Shown:
    path = folder / "run.json"
    tree = _tree(path) if path.is_file() else {}
    history, notes = _history(folder)
    unread = bool(notes)
    if not tree:
        notes += ("The folder has no run.json, so that options, wiring and model of the run are not known.",)
    wiring = folder / "wiring.json"
    try:
        shape, classes = _looks(tree)
        return Shown(
            name=folder.resolve().name,
            folder=folder,
            options=dict(tree.get("options", {})),
            versions=_versions(tree),
            history=history,
            record=wiring.read_text(encoding="utf-8") if wiring.is_file() else None,
            shape=shape,
            classes=classes,
            notes=notes,
            unread=unread,
        )
    except (*MALFORMED, OSError) as problem:
        raise ReportError(f"'{folder}' cannot be read as a run ({problem}). Give one that errorwire train wrote.") from problem


def _versions(tree: dict[str, Any]) -> dict[str, str]:
    """What the run was made by, with its threads and processes."""
    counts = {name: tree[name] for name in ("threads", "processes") if name in tree}
    return {str(name): str(number) for name, number in {**dict(tree.get("versions", {})), **counts}.items()}


def comparison_runs(tree: dict[str, Any], folder: Path) -> list[Shown]:
    """A run for each row of the ``comparison.json`` in ``folder``.

    Raises:
        ReportError: the tree is none that ``Comparison.to_json`` wrote.
    """
    try:
        shape, classes = _looks({"data": tree})
        shared = {"model": tree["model"], "data": tree["data"], **tree["recipe"]}
        return [replace(_row(row, shared), folder=folder, shape=shape, classes=classes) for row in tree["rows"]]
    except MALFORMED as problem:
        raise ReportError(f"'{folder}' holds no comparison that errorwire wrote ({problem!r}). Give another folder.") from problem


def _row(row: dict[str, Any], shared: dict[str, Any]) -> Shown:
    record = row.get("record")
    return Shown(
        name=str(row["wiring"]),
        options={"wiring": row["wiring"], **shared},
        history=_sound(history_of(row)),
        record=None if record is None else json.dumps(record),
        figures=_figures(row),
        angles=dict(row["site_angles"] or {}),
        notes=() if row["outcome"] == "trained" else (f"{_OUTCOMES[row['outcome']]} {row['reason']}",),
        refused=str(row["reason"]) if row["outcome"] == "refused" else None,
    )


_OUTCOMES = {"diverged": "The run diverged.", "refused": "The wiring was refused."}


def _figures(row: dict[str, Any]) -> dict[str, str]:
    """What a comparison measures besides the history."""
    shown = {
        "step time / BP": ("step_time_ratio", "{:.2f}"),
        "ms a step": ("step_milliseconds", "{:.2f}"),
        "mean angle to BP": ("mean_angle", "{:.1f}°"),
    }
    return {name: pattern.format(row[key]) for name, (key, pattern) in shown.items() if row.get(key) is not None}


def _looks(tree: dict[str, Any]) -> tuple[tuple[int, ...] | None, int | None]:
    """The shape of an input and the number of classes, where the file says them."""
    data = tree.get("data", {})
    shape, classes = data.get("input_shape"), data.get("classes")
    if shape is None or classes is None:
        return None, None
    if not all(type(size) is int and size > 0 for size in (*shape, classes)):
        raise ValueError(f"inputs of shape {shape} in {classes} classes cannot be")
    return tuple(shape), classes


def _history(folder: Path) -> tuple[History, tuple[str, ...]]:
    """From the checkpoint, which has the measurements too, else from ``metrics.csv``; and what there is to say of that."""
    path = folder / CHECKPOINT
    if path.is_file():
        try:
            tree: Any = read_run(path)
            return _sound(history_of(tree)), ()
        except (CheckpointError, *MALFORMED) as problem:
            missing = f"The checkpoint cannot be read, so that what was measured besides is missing: {problem}"
    else:
        missing = f"The folder has no {CHECKPOINT}, so that what was measured besides is missing."
    metrics = folder / "metrics.csv"
    return History(_epochs(metrics) if metrics.is_file() else ()), (missing,)


def _sound(history: History) -> History:
    """The same, where every entry is a number or nothing; ValueError where one is not."""
    numbers = [number for row in history.epochs for number in vars(row).values()]
    numbers += [number for found in history.measured for number in (found.epoch, *found.numbers.values())]
    if not all(number is None or type(number) in (int, float) for number in numbers):
        raise ValueError("its history holds something else than numbers")
    return history


def _epochs(path: Path) -> tuple[EpochMetrics, ...]:
    """The rows of a ``metrics.csv``; an empty cell is ``None``."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return tuple(EpochMetrics(**{name: _cell(name, line[name]) for name in _COLUMNS}) for line in csv.DictReader(file))
    except (*MALFORMED, OSError, csv.Error) as problem:
        raise ReportError(f"File '{path}' holds no metrics that errorwire wrote ({problem}). Delete it or mend it.") from problem


_COLUMNS = tuple(column.name for column in fields(EpochMetrics))


def _cell(name: str, text: str) -> Any:
    if name in WHOLE:
        return int(text)
    return float(text) if text else None


def _tree(path: Path) -> dict[str, Any]:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (*MALFORMED, OSError) as problem:
        raise ReportError(f"File '{path}' cannot be read as JSON ({problem}). Give a folder that errorwire wrote.") from problem
    if not isinstance(tree, dict):
        raise ReportError(f"File '{path}' is none that errorwire wrote: it holds no object. Give another folder.")
    return tree
