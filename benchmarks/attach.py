"""Step time of an attached model, forward, loss outside and ``loss.backward()``, over ``Learner.learn`` and over eager backpropagation.

    python benchmarks/attach.py [--rounds 9] [--models resnet resnet8 mlp] [--wirings bp dfa ...] [--json FILE]

Contenders take turns as in ``step_time.py``; ratios are taken within a round; one thread, memory kept. Times are the processor's (of
this process), which other work on the machine disturbs less than the clock on the wall.
"""

import argparse
import copy
import json
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from contenders import EAGER, Batch, Contender, eager, forget, learning
from machine import facts, keep_freed_memory
from measure import FEWEST, Bound, Ratio, Row, take_turns
from models import ResNet13, mlp
from rich.table import Table
from show import console, note, spread
from step_time import Suite, as_json, images
from torch import Tensor, nn

from compiler import compile
from runtime import attach
from runtime.models import build_model
from wiring import parse_wiring

AT_MOST = 1.05
ALONE = "a loss outside, autograd, no step"
WIRINGS = ["bp", "dfa", "dkp", "drtp", "rec_lra", "ekdaa"]
MODELS = ["resnet", "resnet8", "mlp"]


def cpu_clock(contender: Contender, repeats: int) -> float:
    """Processor time of this process; gradients are cleared outside of it."""
    total = 0.0
    for _ in range(repeats):
        contender.clear()
        begin = time.process_time()
        contender.step()
        total += time.process_time() - begin
    return total / repeats


def attaching(model: nn.Module, wiring: str, batch: Batch) -> Contender:
    """The attached model on a copy."""
    own = attach(copy.deepcopy(model), parse_wiring(wiring), batch.x)

    def step() -> None:
        batch.loss(own).backward()  # type: ignore[no-untyped-call]

    return Contender(_name(wiring), step, forget(list(own.parameters())), wiring=wiring, shown="attach")


class _Nothing(torch.autograd.Function):
    """A step that computes nothing: an output that is there already, and gradients that are only memory."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, *taught: Tensor) -> Tensor:
        ctx.taught = taught
        return output.clone()

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor | None, ...]:
        return (None, *(torch.empty_like(parameter) for parameter in ctx.taught))


def nothing(model: nn.Module, batch: Batch) -> Contender:
    """What a loss outside and autograd cost by themselves, for as many parameters: no attached model can take less than this and its step."""
    parameters = list(copy.deepcopy(model).parameters())
    with torch.no_grad():
        output = model(batch.x)

    def step() -> None:
        batch.loss(lambda x: _Nothing.apply(output, *parameters)).backward()  # type: ignore[no-untyped-call]

    return Contender(ALONE, step, forget(parameters))


def _name(wiring: str) -> str:
    return f"{wiring}, attach"


def measured(name: str, setting: str, model: nn.Module, batch: Batch, wirings: Sequence[str], rounds: int) -> Suite:
    """One model: eager backpropagation, and each wiring both ways."""
    contenders, bounds = [eager(model, batch), nothing(model, batch)], dict[str, list[Bound]]()
    for text in wirings:
        program = compile(copy.deepcopy(model), parse_wiring(text), (batch.x, batch.y))
        contenders.append(learning(program, batch, "serial", name=f"{text}, Learner", wiring=text, shown="Learner"))
        contenders.append(attaching(model, text, batch))
        bounds[_name(text)] = [Bound(f"{text}, Learner", AT_MOST)]
    suite = Suite(name, setting, (EAGER,))
    suite.take(contenders, take_turns(contenders, rounds, cpu_clock), bounds)
    return suite


def table(suite: Suite) -> Table:
    """A line a wiring."""
    made = Table(title=f"{suite.model}: step times ({suite.setting})", title_justify="left")
    for heading in ("wiring", "attach, ms", "over Learner.learn", f"<= {AT_MOST}", f"over {EAGER}", f"Learner.learn over {EAGER}"):
        made.add_column(heading, justify="left" if heading == "wiring" else "right")
    learners = {row.contender.wiring: row for row in suite.rows if row.contender.shown == "Learner"}
    for row in suite.rows:
        if row.contender.shown == "attach":
            made.add_row(*_cells(row, learners.get(row.contender.wiring)))
    return made


def _cells(row: Row, learner: Row | None) -> list[str]:
    (bound,) = row.bounds
    met = {True: "met", False: "not met", None: "not measured"}[row.met(bound)]
    base = learner.over.get(EAGER) if learner else None
    return [
        str(row.contender.wiring), f"{row.milliseconds:.3g}", _spread(row.over.get(bound.over)), met, _spread(row.over.get(EAGER)),
        _spread(base),
    ]  # fmt: skip


def _spread(ratio: Ratio | None) -> str:
    return "" if ratio is None else spread(ratio)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help=f"at least {FEWEST}")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--wirings", nargs="+", default=WIRINGS)
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    keep_freed_memory()
    machine, begin = facts(), time.perf_counter()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    suites = []
    if "resnet" in options.models:
        suites.append(
            measured(
                "13-convolution ResNet", "batch 64 at 3x32x32, one thread", ResNet13(), images(64), options.wirings, options.rounds
            )
        )
    if "resnet8" in options.models:
        batch = Batch(torch.randn(32, 1, 8, 8), torch.randint(0, 10, (32,)))
        model = build_model("resnet8", (1, 8, 8), 10)
        suites.append(measured("resnet8", "batch 32 at 1x8x8, one thread", model, batch, options.wirings, options.rounds))
    if "mlp" in options.models:
        batch = Batch(torch.randn(32, 256), torch.randint(0, 10, (32,)))
        suites.append(measured("5x256 MLP", "tanh, batch 32, one thread", mlp(5), batch, options.wirings, options.rounds))
    out, load = console(), facts()["load"]
    for suite in suites:
        out.print(table(suite))
        note(out, suite.failures, suite.late)
    out.print(f"Load average {machine['load']} before, {load} after; {time.perf_counter() - begin:.0f} s in all.")
    if options.json is not None:
        found = {
            "machine": machine | {"load_after": load},
            "rounds": options.rounds,
            "suites": [as_json(suite) for suite in suites],
        }
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
