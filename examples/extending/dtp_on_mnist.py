"""Difference target propagation on MNIST, beside backpropagation, DFA, and hidden layers that do not learn at all.

    OMP_NUM_THREADS=1 python -m examples.extending.dtp_on_mnist --data-folder FOLDER [--seed 0] [--epochs 5] [--json FILE]

Every wiring starts from the same weights and sees the same batches. Writes ``examples/extending/results.json`` by default.
"""

import argparse
import datetime
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

import torch

import examples.extending.difference_target_propagation  # noqa: F401 - registers the preset
from compiler import compile
from runtime import fit
from runtime.data import Data, load_data, standardise
from runtime.models import build_model
from runtime.recipe import Recipe
from wiring import parse_wiring

MODEL = "mlp:width=256,depth=3,activation=tanh"
WIRINGS = ("bp", "dfa", "shallow", "dtp:beta=0.5,std=0.1")


def trained(text: str, data: Data, recipe: Recipe) -> dict[str, Any]:
    """One wiring's accuracies behind each epoch, and what it took."""
    torch.manual_seed(recipe.seed)
    model = build_model(MODEL, data.input_shape, data.classes)
    example = data.train.x[: recipe.batch_size], data.train.y[: recipe.batch_size]
    learner = recipe.learner(compile(model, parse_wiring(text), example))
    began = time.perf_counter()
    history = fit(
        learner, recipe.optimiser(learner), data.train, epochs=recipe.epochs, test=data.test, batch_size=recipe.batch_size,
        seed=recipe.seed, progress=False,
    )  # fmt: skip
    return {
        "wiring": text,
        "test_accuracy": [round(epoch.test_accuracy or 0.0, 4) for epoch in history.epochs],
        "train_accuracy": [round(epoch.train_accuracy or 0.0, 4) for epoch in history.epochs],
        "error_numbers": sum(parameter.numel() for parameter in learner.error_parameters()),
        "seconds": round(time.perf_counter() - began, 1),
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data-folder", type=Path)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--epochs", type=int, default=5)
    options.add_argument("--json", type=Path, default=Path(__file__).with_name("results.json"))
    given = options.parse_args()
    data = standardise(load_data("mnist", given.data_folder, given.seed, None))
    recipe = Recipe(epochs=given.epochs, batch_size=64, optimizer="adam", lr=1e-3, error_lr=1e-3, seed=given.seed)
    rows = []
    for text in WIRINGS:
        rows.append(trained(text, data, recipe))
        print(f"{text:22} test accuracy {rows[-1]['test_accuracy'][-1]:.2%}, {rows[-1]['seconds']} s", flush=True)
    found = {
        "model": MODEL, "data": "mnist, standardised pixels", "training_images": len(data.train.y), "test_images": len(data.test.y),
        "recipe": {"epochs": recipe.epochs, "batch_size": recipe.batch_size, "optimizer": "adam", "lr": recipe.lr, "error_lr": recipe.error_lr},
        "seed": recipe.seed, "command": " ".join(["python -m examples.extending.dtp_on_mnist", *sys.argv[1:]]),
        "versions": {"python": platform.python_version(), "torch": torch.__version__}, "threads": torch.get_num_threads(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), "rows": rows,
    }  # fmt: skip
    given.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
