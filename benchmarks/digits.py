"""Test accuracies on handwritten digits, by the recipes of ``tests/test_digits.py``: every preset on its MLP, five on ``resnet8``.

    python benchmarks/digits.py [--seeds 0 1 2] [--presets bp drtp] [--json FILE]

1437 images to train, 360 to test, 15 epochs, one thread. A row is a preset under a recipe: an accuracy a seed, and the seconds that
all of them took. Backpropagation and DRTP learn by both of the MLP's recipes.
"""

import argparse
import functools
import json
import statistics
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from machine import facts
from rich.table import Table
from show import console

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from test_digits import ADAM, NESTEROV, RESNET, SEEDS, Recipe, accuracy

from wiring import PRESETS

RECIPES: dict[Recipe, Sequence[str]] = {
    ADAM: list(PRESETS),
    NESTEROV: ["bp", "drtp"],
    RESNET: ["bp", "fa", "kp", "rec_lra", "ekdaa"],
}


def said(recipe: Recipe) -> dict[str, Any]:
    """A recipe for the JSON: model, optimiser with its options, and whether pixels are standardised."""
    optimiser = recipe.optimiser
    assert isinstance(optimiser, functools.partial)
    options = ", ".join(f"{name}={value}" for name, value in optimiser.keywords.items())
    return {"model": recipe.model, "optimiser": f"{optimiser.func.__name__}({options})", "standardised": recipe.standardised}


def measured(recipe: Recipe, preset: str, seeds: Sequence[int]) -> dict[str, Any]:
    """One row: accuracies in percent, a seed each."""
    begin = time.perf_counter()
    reached = [round(accuracy(recipe, preset, seed), 2) for seed in seeds]
    return {"preset": preset, **said(recipe), "accuracies": reached, "seconds": round(time.perf_counter() - begin, 1)}


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """A line a row, with the mean over its seeds."""
    made = Table(title="Test accuracy in %", title_justify="left")
    for heading in (*rows[0], "mean"):
        made.add_column(heading)
    for row in rows:
        made.add_row(*map(str, row.values()), f"{statistics.mean(row['accuracies']):.1f}")
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--presets", nargs="+", choices=list(PRESETS), default=list(PRESETS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    machine, begin, rows, out = facts(), time.perf_counter(), list[dict[str, Any]](), console()
    for recipe, presets in RECIPES.items():
        for preset in (name for name in presets if name in options.presets):
            rows.append(measured(recipe, preset, options.seeds))
            out.print(rows[-1])
    seconds = round(time.perf_counter() - begin, 1)
    out.print(table(rows))
    if options.json:
        found = {"machine": machine, "seeds": options.seeds, "epochs": 15, "seconds": seconds, "rows": rows}
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
