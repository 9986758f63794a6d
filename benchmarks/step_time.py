"""Step time of each wiring over eager and over compiled backpropagation of the same model, measured side by side on a CPU.

    python benchmarks/step_time.py [--rounds 9] [--suites resnet mlp cores] [--malloc keep] [--json FILE]

Every contender of a model runs in this one process. Each round times each of them once, in a new order; a ratio is taken within
a round, over eager backpropagation of the same round; shown are the medians with their quartiles. Short steps are repeated until a
measurement takes 20 ms. A step is forward, loss and every update, without an optimiser; for backpropagation forward, loss
and backward.

The process keeps the memory that it frees, for all contenders alike: it starts itself over with MALLOC_TRIM_THRESHOLD_ and
MALLOC_MMAP_THRESHOLD_ at 4000000000. glibc gives big blocks back to the kernel otherwise, and the page faults take their time,
unevenly by what the heap has been through. ``--malloc default`` shows it without.
"""

import argparse
import copy
import functools
import json
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from contenders import COMPILED, EAGER, Batch, Contender, compiled, eager, floor, learning, threads
from machine import facts, keep_freed_memory, malloc
from measure import FEWEST, WARM_UP, Bound, Row, Times, rows, take_turns, told
from models import ResNet13, mlp
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from show import console, note, table
from torch import Tensor, nn

from compiler import UpdateProgram, compile
from wiring import parse_wiring

EAGER_LAST = "eager BP, channels_last"
RESNET_WIRINGS = ["bp", "fa", "kp", "ekdaa", "dfa", "dkp", "drtp", "rec_lra", "rec_lra:depth=1", "lra_e"]
INDUCTOR_WIRINGS = ["bp", "dfa", "rec_lra"]
MLP_WIRINGS = ["bp", "dfa", "dkp", "drtp", "rec_lra", "ekdaa"]
CORES_WIRINGS = ["bp", "dfa", "dkp", "drtp", "rec_lra"]
RESNET_BOUNDS = {
    **{"bp": 1.0, "fa": 1.03, "kp": 1.03, "ekdaa": 1.03},
    **{"dfa": 0.72, "drtp": 0.72, "dkp": 0.76, "rec_lra": 0.80},
}
MLP_BOUNDS = {"drtp": 0.7}
SPEED_UPS = {"8x256 MLP": 1.3, "13-convolution ResNet": 0.95}
SPEED_UP_OF = ["dfa", "rec_lra"]

Tell = Callable[[str], None]


@dataclass
class Suite:
    """What one model showed. ``setting``: in words. ``bases``: the contenders that every ratio is over."""

    model: str
    setting: str
    bases: Sequence[str]
    rows: list[Row] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    late: int = 0

    def take(self, contenders: Sequence[Contender], times: Times, bounds: dict[str, list[Bound]]) -> None:
        """The rows of what was measured, and what failed."""
        self.rows = rows(contenders, times, self.bases, bounds)
        self.failures |= times.failures
        self.late = times.late


def programs(
    model: nn.Module, batch: Batch, wirings: Iterable[str], suite: Suite, tell: Tell, **options: str
) -> dict[str, UpdateProgram]:
    """A program a wiring, each over a copy of the model; what cannot be compiled is noted."""
    made = {}
    for text in wirings:
        tell(f"compiling {text}")
        try:
            made[text] = compile(copy.deepcopy(model), parse_wiring(text), (batch.x, batch.y), **options)  # type: ignore[arg-type]
        except Exception as problem:
            suite.failures[text] = told(problem)
    return made


def images(batch: int) -> Batch:
    """Random images ``[N, 3, 32, 32]`` and labels."""
    return Batch(torch.randn(batch, 3, 32, 32), torch.randint(0, 10, (batch,)))


def resnet(options: argparse.Namespace, tell: Tell) -> Suite:
    """The ResNet on one thread, as the wirings are bounded; and in channels_last, beside backpropagation in channels_last."""
    suite = Suite(
        "13-convolution ResNet", f"width 32 to 128, batch {options.batch} at 3x32x32, one thread", (EAGER, EAGER_LAST, COMPILED)
    )
    model, batch = ResNet13(), images(options.batch)
    plain = programs(model, batch, RESNET_WIRINGS, suite, tell)
    last = programs(model, batch, RESNET_WIRINGS, suite, tell, layout="channels_last")
    floors = {text: floor(program, plain["bp"]) for text, program in plain.items()} if "bp" in plain else {}
    contenders = [eager(model, batch), *([] if options.no_compile else [compiled(model, batch)]), _eager_last(model, batch)]
    for layout, found in (("", plain), (", channels_last", last)):
        for text, program in found.items():
            compiles = text in INDUCTOR_WIRINGS and not options.no_compile
            for executor in ("serial", *(["inductor"] if compiles else [])):
                shown, share = f"{executor}{layout}", floors.get(text)
                contenders.append(
                    learning(program, batch, executor, name=f"{text}, {shown}", wiring=text, shown=shown, floor=share)
                )
    bounds = {f"{text}, serial": [Bound(EAGER, most)] for text, most in RESNET_BOUNDS.items()}
    suite.take(contenders, take_turns(contenders, options.rounds, tell=tell), bounds)
    return suite


def _eager_last(model: nn.Module, batch: Batch) -> Contender:
    last: nn.Module = copy.deepcopy(model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x: Tensor = batch.x.to(memory_format=torch.channels_last)
    return eager(last, Batch(x, batch.y), EAGER_LAST)


def small(options: argparse.Namespace, tell: Tell) -> Suite:
    """A network whose steps are launches more than arithmetic."""
    suite = Suite("5x256 MLP", "tanh, batch 32, one thread; auto may take two", (EAGER, COMPILED))
    model, batch = mlp(5), Batch(torch.randn(32, 256), torch.randint(0, 10, (32,)))
    found = programs(model, batch, MLP_WIRINGS, suite, tell)
    contenders = [eager(model, batch), *([] if options.no_compile else [compiled(model, batch)])]
    for text, program in found.items():
        share = floor(program, found["bp"]) if "bp" in found else None
        for executor in ("serial", "auto"):
            name = f"{text}, {executor}"
            contenders.append(learning(program, batch, executor, name=name, wiring=text, shown=executor, floor=share))
    bounds = {f"{text}, serial": [Bound(EAGER, most)] for text, most in MLP_BOUNDS.items()}
    suite.take(contenders, take_turns(contenders, options.rounds, tell=tell), bounds)
    return suite


def cores(name: str, model: nn.Module, batch: Batch, options: argparse.Namespace, tell: Tell) -> Suite:
    """Two cores: a thread a stream, against two threads inside each operator.

    A step on half the batch by one thread is what two cores would take at least that share the samples and then need not add up.
    """
    inside, streams, halved = "serial, 2 intra-op threads", "threads, 2 streams", "serial, 1 thread, half the batch"
    suite = Suite(name, f"batch {len(batch.x)}, two cores; BP and serial with 2 intra-op threads", (EAGER,))
    two = functools.partial(threads, 2)
    contenders = [eager(model, batch, arrangement=two)]
    bounds = {}
    found = programs(model, batch, CORES_WIRINGS, suite, tell)
    for text, program in found.items():
        share = floor(program, found["bp"]) if "bp" in found else None
        own = functools.partial(learning, program, batch, wiring=text, floor=share)
        contenders.append(own("serial", name=f"{text}, {inside}", shown=inside, arrangement=two))
        contenders.append(own("threads", 2, name=f"{text}, {streams}", shown=streams, arrangement=two))
        if text in SPEED_UP_OF:
            bounds[f"{text}, {streams}"] = [Bound(f"{text}, {inside}", 1 / SPEED_UPS[name])]
    half = Batch(batch.x[: len(batch.x) // 2], batch.y[: len(batch.y) // 2])
    for text, program in programs(model, half, SPEED_UP_OF, suite, tell).items():
        one = functools.partial(threads, 1)
        contenders.append(learning(program, half, "serial", name=f"{text}, {halved}", wiring=text, shown=halved, arrangement=one))
    suite.take(contenders, take_turns(contenders, options.rounds, tell=tell), bounds)
    return suite


def run(options: argparse.Namespace, tell: Tell) -> list[Suite]:
    """The suites that are asked for."""
    made = []
    if "resnet" in options.suites:
        made.append(resnet(options, tell))
    if "mlp" in options.suites:
        made.append(small(options, tell))
    if "cores" in options.suites:
        made.append(cores("8x256 MLP", mlp(8), Batch(torch.randn(32, 256), torch.randint(0, 10, (32,))), options, tell))
        made.append(cores("13-convolution ResNet", ResNet13(), images(options.batch), options, tell))
    return made


def written(suites: Sequence[Suite], machine: dict[str, object], options: argparse.Namespace) -> dict[str, object]:
    """For the JSON."""
    protocol = {
        "rounds": options.rounds, "warm_up_rounds": WARM_UP, "step": "forward, loss and every update, no optimiser",
        "ratio": "median and quartiles over rounds of time over time in the same round", "malloc": malloc(),
    }  # fmt: skip
    return {"machine": machine, "protocol": protocol, "suites": [as_json(suite) for suite in suites]}


def as_json(suite: Suite) -> dict[str, object]:
    """A suite's rows and failures as plain values."""
    lines = []
    for row in suite.rows:
        bounds = [{**asdict(bound), "met": row.met(bound)} for bound in row.bounds]
        lines.append(
            {
                "contender": row.contender.name,
                "wiring": row.contender.wiring,
                "executor": row.contender.shown,
                "backend": row.contender.backend(),
                "milliseconds": row.milliseconds,
                "over": {base: asdict(ratio) for base, ratio in row.over.items()},
                "flops_over_bp": row.contender.floor,
                "bounds": bounds,
            }
        )
    return {
        "model": suite.model,
        "setting": suite.setting,
        "rows": lines,
        "failures": suite.failures,
        "rounds_left_out": suite.late,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help=f"at least {FEWEST}, behind {WARM_UP} to warm up")
    parser.add_argument("--batch", type=int, default=64, help="of the ResNet")
    parser.add_argument("--suites", nargs="+", choices=["resnet", "mlp", "cores"], default=["resnet", "mlp", "cores"])
    parser.add_argument("--malloc", choices=["keep", "default"], default="keep", help="whether the process keeps freed memory")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out: it takes a minute to compile")
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    if options.malloc == "keep":
        keep_freed_memory()
    machine, begin = facts(), time.perf_counter()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("starting")
        suites = run(options, lambda text: progress.update(task, description=text))
    out, load = console(), facts()["load"]
    for suite in suites:
        out.print(table(suite.model, suite.setting, suite.bases, suite.rows))
        note(out, suite.failures, suite.late)
    seconds = time.perf_counter() - begin
    out.print(f"malloc: {malloc()}. Load average {machine['load']} before, {load} after; {seconds:.0f} s in all.")
    out.print(
        "Where other programs run at the same time, operators with 2 threads inside wait for a core: read no two-core ratio then."
    )
    if options.json is not None:
        options.json.write_text(json.dumps(written(suites, machine | {"load_after": load}, options), indent=2) + "\n")


if __name__ == "__main__":
    main()
