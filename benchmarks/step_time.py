"""Step time of each wiring over eager backpropagation of the same model, measured side by side.

    python benchmarks/step_time.py [--rounds 15] [--threads 1] [--json FILE]

A step is forward, loss and every update, without an optimiser; for eager backpropagation forward, loss and backward. Each
wiring is paired with eager backpropagation, and the two run in turn, now one first and now the other; a ratio is the median
of the rounds' ratios, with its quartiles.
"""

import argparse
import copy
import json
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from models import ResNet13
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

from compiler import compile
from runtime import Learner
from wiring import parse_wiring

BOUNDS = {"bp": 1.05, "fa": 1.15, "ekdaa": 1.15, "dfa": 0.80, "dkp": 0.80, "drtp": 0.80, "rec_lra": 0.90}
WIRINGS = ["bp", "fa", "kp", "ekdaa", "dfa", "dkp", "drtp", "rec_lra", "rec_lra:depth=1", "lra_e"]


def eager(model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], float]:
    """A timed step of plain backpropagation."""

    def step() -> float:
        begin = time.perf_counter()
        nn.functional.cross_entropy(model(x), y).backward()
        elapsed = time.perf_counter() - begin
        model.zero_grad()
        return elapsed

    return step


def learning(learner: Learner, x: Tensor, y: Tensor) -> Callable[[], float]:
    """A timed step of a learner."""

    def step() -> float:
        begin = time.perf_counter()
        learner.learn(x, y)
        elapsed = time.perf_counter() - begin
        learner.zero_grad()
        return elapsed

    return step


def measure(own: Callable[[], float], base: Callable[[], float], rounds: int) -> tuple[list[float], list[float]]:
    """Seconds by round of a step and of eager backpropagation, after two rounds of warming up."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 2):
        for place in (0, 1) if number % 2 else (1, 0):
            elapsed = (own, base)[place]()
            if number >= 2:
                times[place].append(elapsed)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--wirings", nargs="+", default=WIRINGS)
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = ResNet13()
    x, y = torch.randn(options.batch, 3, 32, 32), torch.randint(0, 10, (options.batch,))
    base = eager(copy.deepcopy(model), x, y)
    rows, bases = [], []
    for text in track(options.wirings, "measuring", console=Console(stderr=True)):
        with warnings.catch_warnings(action="ignore"):
            program = compile(copy.deepcopy(model), parse_wiring(text), (x, y))
        seconds, eager_seconds = measure(learning(Learner(program), x, y), base, options.rounds)
        rows.append(row(text, seconds, eager_seconds, program.report().flops / program.report().bp_flops))
        bases += eager_seconds
    show(rows, statistics.median(bases) * 1e3, options.threads, options.batch)
    if options.json is not None:
        facts = {"torch": torch.__version__, "machine": platform.processor() or platform.machine(), "threads": options.threads}
        options.json.write_text(
            json.dumps({**facts, "batch": options.batch, "rounds": options.rounds, "rows": rows}, indent=2) + "\n"
        )


def row(text: str, seconds: list[float], eager_seconds: list[float], floor: float) -> dict[str, float | str | None]:
    """A wiring's ratio over eager backpropagation, round by round."""
    ratios = [own / base for own, base in zip(seconds, eager_seconds, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {"wiring": text, "ratio": middle, "low": low, "high": high, "flops": floor, "bound": BOUNDS.get(text)}


def show(rows: list[dict[str, float | str | None]], base: float, threads: int, batch: int) -> None:
    """Print the table; ``base``: milliseconds of an eager step."""
    table = Table(
        title=f"Step time over eager BP ({base:.0f} ms), 13-convolution ResNet, batch {batch} at 3x32x32, {threads} thread(s)"
    )
    for heading in ("wiring", "step / BP", "quartiles", "FLOPs / BP", "bound"):
        table.add_column(heading, justify="left" if heading == "wiring" else "right")
    for entry in rows:
        bound = f"{entry['bound']:.2f}" if entry["bound"] is not None else ""
        quartiles = f"{entry['low']:.3f} to {entry['high']:.3f}"
        table.add_row(str(entry["wiring"]), f"{entry['ratio']:.3f}", quartiles, f"{entry['flops']:.2f}", bound)
    Console().print(table)


if __name__ == "__main__":
    main()
