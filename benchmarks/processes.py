"""How many more samples a second two processes learn than one, measured and foreseen.

    python benchmarks/processes.py [--rounds 9] [--json FILE]

Two gloo processes on one machine, each with one thread and a batch as large as the one process's. They take turns: a round times the
first alone, then both together; the speed-up is twice the ratio of these. The prediction is ``program.scaling`` with the network
measured here. Steps are forward, loss and every update, without an optimiser. Wants a machine with two free cores.
"""

import argparse
import copy
import dataclasses
import json
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from machine import facts, keep_freed_memory
from models import ResNet13, mlp
from rich.table import Table
from show import console
from torch import Tensor, nn
from torch.multiprocessing import spawn

from compiler import World, compile, roofline
from compiler.network import Network
from runtime import Learner
from wiring import parse_wiring

STEPS_SECONDS = 0.4
LARGE = 25 * 2**20


@dataclasses.dataclass(frozen=True)
class Case:
    """A model with a batch for each process."""

    name: str
    model: Callable[[], nn.Module]
    shape: tuple[int, ...]
    wiring: str


CASES = tuple(
    Case(name, model, shape, wiring)
    for name, model, shape, wirings in (
        ("13-convolution ResNet, batch 64", ResNet13, (64, 3, 32, 32), ("bp", "dkp", "rec_lra")),
        ("5x256 tanh MLP, batch 128", lambda: mlp(5), (128, 256), ("bp", "dkp")),
        ("3x1024 tanh MLP, batch 256", lambda: mlp(3, 1024), (256, 1024), ("bp", "dkp")),
    )
    for wiring in wirings
)


def network(rounds: int) -> Network:
    """Latency and bandwidth by the model of ``Network.sum_seconds`` for two processes: lower quartiles, as of the cost model."""

    def taken(value: Tensor, repeats: int) -> float:
        times = []
        for _ in range(repeats):
            begin = time.perf_counter()
            dist.all_reduce(value)
            times.append(time.perf_counter() - begin)
        return statistics.quantiles(times, n=4)[0]

    small, large = taken(torch.zeros(1), 20 * rounds), taken(torch.zeros(LARGE // 4), 4 * rounds)
    return Network(name="gloo on loopback", bandwidth=LARGE / (large - small), latency=small / 2)


def seconds(learner: Learner, x: Tensor, y: Tensor, steps: int) -> float:
    """Of one step."""
    begin = time.perf_counter()
    for _ in range(steps):
        for parameter in learner.parameters():
            parameter.grad = None
        learner.learn(x, y)
    return (time.perf_counter() - begin) / steps


def measured(case: Case, world: World, line: Network, rank: int, rounds: int) -> dict[str, Any]:
    """One model: seconds of a step alone and together, and the speed-up beside the foreseen one."""
    torch.manual_seed(0)
    model, x, y = case.model(), torch.randn(case.shape), torch.randint(0, 10, case.shape[:1])
    program = compile(copy.deepcopy(model), parse_wiring(case.wiring), (x, y))
    alone, both = Learner(program), Learner(compile(model, parse_wiring(case.wiring), (x, y), world=world))
    steps = [max(1, round(STEPS_SECONDS / seconds(alone, x, y, 2)))]
    dist.broadcast_object_list(steps)
    seconds(both, x, y, 2)
    times: list[tuple[float, float]] = []
    for _ in range(rounds):
        dist.barrier()
        one = seconds(alone, x, y, steps[0]) if rank == 0 else 0.0
        dist.barrier()
        times.append((one, seconds(both, x, y, steps[0])))
    if rank:
        return {}
    ratios = sorted(2 * one / two for one, two in times)
    foreseen = program.scaling((2,), roofline("cpu", 1).model_copy(update={"network": line}))
    quarter, _, three = statistics.quantiles(ratios, n=4)
    return {
        "model": case.name,
        "wiring": case.wiring,
        "step alone, ms": 1e3 * statistics.median(one for one, _ in times),
        "step of two, ms": 1e3 * statistics.median(two for _, two in times),
        "MB summed a step": foreseen.summed_bytes / 1e6,
        "speed-up": statistics.median(ratios),
        "quartiles": [quarter, three],
        "foreseen": foreseen.speed_up(2),
    }


def process(rank: int, folder: str, rounds: int) -> None:
    """One of the pair; the first writes what was found."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    assert dist.group.WORLD is not None
    world = World(group=dist.group.WORLD.group_name, size=2)
    if rank == 0:
        roofline("cpu", 1)  # measured while nobody else works
    dist.barrier()
    line = network(rounds)
    rows = [measured(case, world, line, rank, rounds) for case in CASES]
    if rank == 0:
        Path(folder, "found.json").write_text(json.dumps({"network": line.model_dump(), "rows": rows}))
    dist.barrier()
    dist.destroy_process_group()


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """A line a model and wiring."""
    made = Table(title="Two processes against one, samples a second", title_justify="left")
    for heading in rows[0]:
        made.add_column(heading, justify="left" if heading in ("model", "wiring") else "right")
    for row in rows:
        made.add_row(*map(_cell, row.values()))
    return made


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return " to ".join(map(_cell, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    keep_freed_memory()
    machine = facts()
    with tempfile.TemporaryDirectory() as folder:
        spawn(process, (folder, options.rounds), nprocs=2)  # type: ignore[no-untyped-call]
        found = json.loads(Path(folder, "found.json").read_text())
    out = console()
    out.print(table(found["rows"]))
    line = found["network"]
    out.print(f"{line['name']}: {line['bandwidth'] / 1e9:.2f} GB/s, {line['latency'] * 1e6:.0f} us a message.")
    load = [round(value, 2) for value in os.getloadavg()]
    out.print(f"Load average {machine['load']} before, {load} after.")
    if options.json is not None:
        found = {"machine": machine | {"load_after": load}, "rounds": options.rounds, **found}
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
