"""Bytes of activations alive at the peak of a step, by depth and wiring: foreseen, counted and as the allocator saw them.

    python benchmarks/memory.py [--depths 20 56 110] [--wirings drtp dfa rec_lra bp] [--batch 32] [--json FILE]

For CIFAR's ResNets at 3x32x32. "foreseen" is what ``program.report()`` says, "counted" what lived while the step ran
(``runtime.measured_peak_bytes``), "allocator" what torch's allocator had handed out, operators' own scratch memory included; none
with inputs and results. "2 streams", "4 streams": foreseen by their schedules' lists, each value from its launch to its free.
"""

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import torch
from machine import facts
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch._C._profiler import _EventType
from torch.profiler import ProfilerActivity, profile

from compiler import UpdateProgram, compile
from compiler.cost import peak_activation_bytes, peak_held_bytes
from compiler.planning import scheduled
from runtime import measured_peak_bytes
from runtime.executors import executor
from runtime.executors.first import first_values
from runtime.models import build_model
from wiring import parse_wiring

STREAMS = (2, 4)
DEEPER, OVER_BP = 1.1, 0.06  # what is promised of DRTP at ResNet-110: over ResNet-20, and over backpropagation


def allocator_peak(program: UpdateProgram) -> int:
    """The most bytes that torch's allocator had handed out at a time during a step, less what outlived it: the results."""
    run, inputs = executor("serial").prepare(program.lowered), first_values(program)
    run(inputs)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        results = run(inputs)
    events = sorted(allocations(seen.profiler.kineto_results.experimental_event_tree()))
    del results
    alive: dict[int, int] = {}  # by address, the place among events where it was handed out
    for place, (_, address, size) in enumerate(events):
        if size > 0:
            alive[address] = place
        else:
            alive.pop(address, None)
    kept, sizes = set(alive.values()), dict[int, int]()
    held = peak = 0
    for place, (_, address, size) in enumerate(events):
        if size > 0 and place not in kept:
            sizes[address] = size
            held += size
            peak = max(peak, held)
        elif size < 0:
            held -= sizes.pop(address, 0)
    return peak


def allocations(tree: Any) -> list[tuple[int, int, int]]:
    """Moment, address and bytes (less than none: given back) of every event below."""
    found = []
    for event in tree:
        if event.tag == _EventType.Allocation:
            found.append((event.start_time_ns, event.extra_fields.ptr, event.extra_fields.alloc_size))
        found += allocations(event.children)
    return found


def measure(depth: int, wiring: str, batch: int) -> dict[str, int | str]:
    """One row."""
    torch.manual_seed(0)
    x, y = torch.randn(batch, 3, 32, 32), torch.randint(0, 10, (batch,))
    with warnings.catch_warnings(action="ignore"):
        program = compile(build_model(f"resnet{depth}", (3, 32, 32), 10), parse_wiring(wiring), (x, y))
    tasks = program.lowered.tasks
    return {
        "depth": depth,
        "wiring": wiring,
        "foreseen": peak_activation_bytes(program.lowered.module.graph, tasks),
        "counted": measured_peak_bytes(program),
        "allocator": allocator_peak(program),
        **{f"{streams} streams": peak_held_bytes(tasks, scheduled(program.lowered, streams)) for streams in STREAMS},
    }


def show(rows: list[dict[str, int | str]], batch: int) -> None:
    """Print the table in MB (10^6 bytes)."""
    table = Table(title=f"MB of activations at the peak of a step, CIFAR ResNets, batch {batch} at 3x32x32")
    for heading in rows[0]:
        shown = f"foreseen, {heading}" if heading.endswith("streams") else heading
        table.add_column(shown, justify="left" if heading == "wiring" else "right")
    for row in rows:
        table.add_row(*(f"{v / 1e6:.1f}" if key not in ("depth", "wiring") else str(v) for key, v in row.items()))
    Console().print(table)


def promise(rows: list[dict[str, int | str]]) -> str | None:
    """What DRTP's memory at the greatest depth is of the smallest's and of backpropagation's, as counted."""
    counted = {(row["depth"], row["wiring"]): int(row["counted"]) for row in rows}
    least, most = min(depth for depth, _ in counted), max(depth for depth, _ in counted)
    if not {(least, "drtp"), (most, "drtp"), (most, "bp")} <= counted.keys():
        return None
    deeper, over = (counted[most, "drtp"] / counted[other] for other in ((least, "drtp"), (most, "bp")))
    return f"drtp at ResNet-{most}: {deeper:.3f} of ResNet-{least} (bound {DEEPER}), {over:.3f} of bp (bound {OVER_BP} at 110)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--depths", type=int, nargs="+", default=[20, 56, 110])
    parser.add_argument("--wirings", nargs="+", default=["drtp", "dfa", "rec_lra", "bp"])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    machine = facts()
    pairs = [(depth, wiring) for wiring in options.wirings for depth in options.depths]
    rows = [measure(*pair, options.batch) for pair in track(pairs, "measuring", console=Console(stderr=True))]
    show(rows, options.batch)
    print(promise(rows) or "")
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": machine, "batch": options.batch, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
