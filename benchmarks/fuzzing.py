"""Wirings, command lines and checkpoints at their worst: whether anything but an error of errorwire's own comes of them.

    python benchmarks/fuzzing.py [--examples 10000] [--targets wirings commands checkpoints] [--seed 0] [--json FILE]

Examples are drawn by Hypothesis (``tests/fuzz``); an audit hook notices programs and pickles that are run and files that are written
outside the example's folder. Targets that are not asked for keep their figures in the JSON file, and each says on which day and at which
commit it was last tried. What goes wrong is shown with its first example, and the program ends in code 1.
"""

import argparse
import importlib
import json
import logging
import resource
import sys
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from machine import facts

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]  # the root first: a folder of tests has the name of a package
TARGETS = ("wirings", "commands", "checkpoints")


@dataclass
class Found:
    """What came of the examples of one target."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)
    failed: int = 0

    def fail(self, problem: BaseException, example: object) -> None:
        self.failed += 1
        *_, last = traceback.extract_tb(problem.__traceback__)
        what = f"{type(problem).__name__} in {Path(last.filename).name}:{last.lineno}: {problem}"[:300]
        self.failures.setdefault(what.partition(":")[0], f"{what} for {example!r}"[:600])


def fuzz(target: Any, examples: int, number: int) -> Found:
    """Check so many examples of a target, drawn from the seed ``number``."""
    found = Found()

    @seed(number)
    @settings(
        max_examples=examples, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(target.STRATEGY)
    def each(example: Any) -> None:
        try:
            found.outcomes[target.check(example)] += 1
        except KeyboardInterrupt:
            raise
        except BaseException as problem:
            if type(problem).__module__.startswith("hypothesis"):
                raise
            found.fail(problem, example)

    each()
    return found


def enter(tree: dict[str, Any], name: str, found: Found, seconds: float) -> None:
    """Put what was found of a target into the JSON's tree, in place of what stood there of it: outcomes are rows, targets columns."""
    tree["targets"][name] = {
        "inputs": found.outcomes.total() + found.failed,
        "failed": found.failed,
        "seconds": round(seconds, 1),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        **{key: str(value) for key, value in facts().items() if key in ("date", "commit")},
    }
    for row in tree["outcomes"].values():
        row.pop(name, None)
    for outcome, count in found.outcomes.most_common():
        tree["outcomes"].setdefault(outcome, {})[name] = count
    tree["outcomes"] = {outcome: row for outcome, row in tree["outcomes"].items() if row}
    tree["failures"] = [text for text in tree["failures"] if not text.startswith(f"{name}: ")]
    tree["failures"] += [f"{name}: {text}" for text in found.failures.values()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    tree: dict[str, Any] = {"targets": {}, "outcomes": {}, "failures": []}
    if arguments.json and arguments.json.exists():
        tree = json.loads(arguments.json.read_text(encoding="utf-8"))
    for name in arguments.targets:
        start = time.perf_counter()
        found = fuzz(importlib.import_module(f"fuzz.{name}"), arguments.examples, arguments.seed)
        enter(tree, name, found, time.perf_counter() - start)
        print(f"{name}: {tree['targets'][name]}", *tree["failures"], sep="\n", flush=True)
    of_all = {key: round(sum(target[key] for target in tree["targets"].values()), 1) for key in ("inputs", "failed", "seconds")}
    tree = {**of_all, **{key: tree[key] for key in ("targets", "outcomes", "failures")}, "machine": facts()}
    if arguments.json:
        arguments.json.write_text(json.dumps(tree, indent=2) + "\n", encoding="utf-8")
    sys.exit(1 if tree["failed"] else 0)


if __name__ == "__main__":
    main()
