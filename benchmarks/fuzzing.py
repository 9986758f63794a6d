"""Wirings, command lines and checkpoints at their worst: whether anything but an error of errorwire's own comes of them.

    python benchmarks/fuzzing.py [--examples 10000] [--targets wirings commands checkpoints] [--seed 0] [--json FILE]

Examples are drawn by Hypothesis (``tests/fuzz``); an audit hook notices programs and pickles that are run and files that are written
outside the example's folder. Targets that are not asked for keep their figures in the JSON file. What goes wrong is shown with its
first example, and the program ends in code 1.
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

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
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
        self.failures.setdefault(what.partition(":")[0], f"{what} for {example!r}"[:2000])


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
    targets: dict[str, Any] = {}
    if arguments.json and arguments.json.exists():
        targets = json.loads(arguments.json.read_text(encoding="utf-8"))["targets"]
    for name in arguments.targets:
        start = time.perf_counter()
        found = fuzz(importlib.import_module(f"fuzz.{name}"), arguments.examples, arguments.seed)
        inputs = found.outcomes.total() + found.failed
        targets[name] = {
            "inputs": inputs,
            "outcomes": dict(found.outcomes.most_common()),
            "failed": found.failed,
            "failures": found.failures,
            "seconds": round(time.perf_counter() - start, 1),
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }
        print(f"{name}: {json.dumps(targets[name], indent=2)}", flush=True)
    tree = {
        "inputs": sum(target["inputs"] for target in targets.values()),
        "failed": sum(target["failed"] for target in targets.values()),
        "targets": targets,
        "seconds": round(sum(target["seconds"] for target in targets.values()), 1),
        "machine": facts(),
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(tree, indent=2) + "\n", encoding="utf-8")
    sys.exit(1 if tree["failed"] else 0)


if __name__ == "__main__":
    main()
