"""Runs -> the page's data: plain values for everything that it shows; programs that runs share stand there once."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from compiler import UpdateProgram
from runtime.comparison import Comparison
from runtime.files import write_whole
from runtime.page.curves import curves, measured
from runtime.page.errors import ReportError
from runtime.page.graph import graph
from runtime.page.html import html
from runtime.page.lanes import lanes
from runtime.page.reading import PAGE, comparison_runs
from runtime.page.rebuild import rebuild
from runtime.page.record import Shown
from runtime.page.sites import sites
from runtime.recipe import Recipe

DEFAULTS: dict[str, Any] = {
    "data": "digits", "data_folder": None, "limit": None, "standardise": True, "watch": True, **asdict(Recipe()),
}  # fmt: skip


def write_page(path: Path, runs: Sequence[Shown], programs: Mapping[str, UpdateProgram] | None = None) -> None:
    """Write a page about runs, whole or not at all.

    Arguments:
        programs: those that are there already, by the runs' names; the others are compiled.

    Raises:
        ReportError: no run at all.
        FileError: the disk refuses.
    """
    if not runs:
        raise ReportError("There is no run to show. Give the folder of one.")
    tree = document(runs, programs or {})
    write_whole(path, html(tree))


def write_comparison_page(comparison: Comparison, folder: Path) -> None:
    """Write ``report.html`` about a comparison, with the programs that its rows have.

    Raises:
        FileError: the disk refuses.
    """
    programs = {row.wiring: row.program for row in comparison.rows if row.program is not None}
    write_page(folder / PAGE, comparison_runs(json.loads(comparison.to_json()), folder), programs)


def document(runs: Sequence[Shown], programs: Mapping[str, UpdateProgram]) -> dict[str, Any]:
    """Everything that the page shows, as values that JSON has."""
    known: dict[str, int | str] = {}
    shown: list[dict[str, Any]] = []
    entries: list[dict[str, Any]] = []
    for run in runs:
        key = run.name if run.name in programs else _same(run)
        if key not in known:
            try:
                shown.append(_program(programs.get(run.name) or rebuild(run)))
                known[key] = len(shown) - 1
            except ReportError as problem:
                known[key] = str(problem)
        entries.append(_entry(run, known[key]))
    return {"title": _title(runs), "errorwire": version("errorwire"), "runs": entries, "programs": shown}


def _same(run: Shown) -> str:
    """Runs for which this is the same have the same program."""
    decisive = [run.options.get(name) for name in ("model", "batch_size", "autocast", "layout")]
    return repr((decisive, run.record, run.shape, run.classes))


def _program(program: UpdateProgram) -> dict[str, Any]:
    return {"graph": graph(program), "sites": sites(program), "lanes": lanes(program)}


def _entry(run: Shown, program: int | str) -> dict[str, Any]:
    return {
        "name": run.name,
        "state": _state(run),
        "options": {name: _plain(value) for name, value in run.options.items()},
        "command": command(run.options),
        "versions": dict(run.versions),
        "figures": dict(run.figures),
        "notes": list(run.notes),
        "unread": run.unread,
        "program": program if isinstance(program, int) else None,
        "trouble": program if isinstance(program, str) else None,
        "curves": curves(run.history),
        **measured(run),
    }


def _state(run: Shown) -> str:
    done, wanted = len(run.history.epochs), run.epochs_wanted
    if wanted is None or done >= wanted:
        return f"{done} epochs"
    return f"{done} of {wanted} epochs so far" if done else f"none of {wanted} epochs so far"


def _title(runs: Sequence[Shown]) -> str:
    models = list(dict.fromkeys(str(run.options.get("model", "unknown model")) for run in runs))
    wirings = list(dict.fromkeys(str(run.options.get("wiring", run.name)) for run in runs))
    many = f"{len(runs)} runs" if len(wirings) > 4 else ", ".join(wirings)
    return f"{many} on {models[0]}" if len(models) == 1 else f"{many} on {len(models)} models"


def command(options: Mapping[str, Any]) -> str | None:
    """The command that trains so, where all options are known; those that have their usual values are left out."""
    if not {"model", "wiring", "limit", "standardise"} <= options.keys():
        return None
    words = ["errorwire", "train", "--model", str(options["model"]), "--wiring", str(options["wiring"])]
    for name, value in options.items():
        if name in ("model", "wiring") or value is None or value == DEFAULTS.get(name):
            continue
        written = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{written}" if value else f"--no-{written}")
        else:
            words += [f"--{written}", str(value)]
    return shlex.join(words)


def _plain(value: object) -> str:
    """An option's value for people."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else json.dumps(value)
