"""Step time of each wiring over eager backpropagation of the same model, measured side by side.

    python benchmarks/step_time.py [--rounds 15] [--threads 1] [--json FILE]

A step is forward, loss and every update, without an optimiser; for eager backpropagation forward, loss and backward. In each
round every contender runs once, in an order that turns; a ratio is the median of the rounds' ratios, with its quartiles.
"""

import argparse
import copy
import json
import platform
import statistics
import time
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


def measure(steps: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Seconds by contender and round, after two rounds of warming up."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    names = list(steps)
    for number in track(range(rounds + 2), "measuring", console=Console(stderr=True)):
        turn = names[number % len(names) :] + names[: number % len(names)]
        for name in turn:
            elapsed = steps[name]()
            if number >= 2:
                times[name].append(elapsed)
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
    steps = {"eager BP": eager(copy.deepcopy(model), x, y)}
    floors = {}
    for text in options.wirings:
        program = compile(copy.deepcopy(model), parse_wiring(text), (x, y))
        floors[text] = program.report().flops / program.report().bp_flops
        steps[text] = learning(Learner(program), x, y)
    times = measure(steps, options.rounds)
    rows = [row(text, times, floors[text]) for text in options.wirings]
    show(rows, times, options.threads, options.batch)
    if options.json is not None:
        facts = {"torch": torch.__version__, "machine": platform.processor() or platform.machine(), "threads": options.threads}
        options.json.write_text(
            json.dumps({**facts, "batch": options.batch, "rounds": options.rounds, "rows": rows}, indent=2) + "\n"
        )


def row(text: str, times: dict[str, list[float]], floor: float) -> dict[str, float | str | None]:
    """A contender's ratio over eager backpropagation, round by round."""
    ratios = [own / base for own, base in zip(times[text], times["eager BP"], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {"wiring": text, "ratio": middle, "low": low, "high": high, "flops": floor, "bound": BOUNDS.get(text)}


def show(rows: list[dict[str, float | str | None]], times: dict[str, list[float]], threads: int, batch: int) -> None:
    """Print the table."""
    base = statistics.median(times["eager BP"]) * 1e3
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
