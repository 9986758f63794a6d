"""What the GPU benchmark does with a model, phase by phase; each leaves what it found in a ``Found``."""

import argparse
import copy
import functools
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from agreement import OPTIMISERS, against_serial, dropout, included
from budget import Budget, OutOfTimeError
from contenders import COMPILED, EAGER, Contender, compiled, eager, floor, learning
from cuda_steps import GRAPHED, cuda_clock, graphed, peak_bytes
from gpu_cases import GRAPH_STREAMS, STREAMS, Case, graph_name
from measure import Row, host_clock, rows, take_turns, told
from overlap import overlap, profiled
from rich.console import Console
from show import note, table
from torch import nn

from compiler import UpdateProgram, compile
from wiring import parse_wiring

AGREEMENT = "the largest difference of any gradient, buffer or loss from serial's, over that tensor's largest number"
AUTOTUNED = f"{COMPILED}, max-autotune"
OVERLAPPING = ("dfa", "rec_lra")
Make = Callable[[], Contender]


@dataclass
class Found:
    """Everything that was found out about a model."""

    programs: dict[str, UpdateProgram] = field(default_factory=dict)
    floors: dict[str, float] = field(default_factory=dict)
    agreement: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, list[Row]] = field(default_factory=dict)
    overlaps: dict[str, Any] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "agreement": self.agreement,
            "tables": {name: [_row(row) for row in lines] for name, lines in self.tables.items()},
            "one_stream_against_more": {name: _more_streams(lines) for name, lines in self.tables.items()},
            "overlap": self.overlaps,
            "peak_bytes": self.peaks,
            "failures": self.failures,
        }


def _row(row: Row) -> dict[str, Any]:
    own = row.contender
    return {
        "contender": own.name, "wiring": own.wiring, "executor": own.shown, "milliseconds": row.milliseconds,
        "over": {base: asdict(ratio) for base, ratio in row.over.items()}, "flops_over_bp": own.floor,
        "bounds": [{**asdict(bound), "met": row.met(bound)} for bound in row.bounds],
    }  # fmt: skip


def _more_streams(lines: list[Row]) -> dict[str, float]:
    """Milliseconds in a graph of one stream over those in a graph of more, by wiring and streams: above one, streams pay."""
    taken = {row.contender.name: row.milliseconds for row in lines}
    found = {}
    for wiring in dict.fromkeys(row.contender.wiring for row in lines if row.contender.wiring):
        one = taken.get(graph_name(wiring, 1))
        for streams in GRAPH_STREAMS[1:]:
            more = taken.get(graph_name(wiring, streams))
            if one and more:
                found[f"{wiring}, {streams} streams"] = one / more
    return found


# ---------------------------------------------------------------------------------------------------------------- phases


def compile_programs(case: Case, found: Found, options: argparse.Namespace, budget: Budget, console: Console) -> None:
    """A program a wiring; what cannot be compiled is noted."""
    for text in options.wirings:
        try:
            example = (case.batch.x, case.batch.y)
            model: nn.Module = copy.deepcopy(case.model)
            found.programs[text] = compile(model, parse_wiring(text), example, autocast=case.batch.autocast)
        except Exception as problem:
            found.failures[f"compile {text}"] = told(problem)
    if "bp" in found.programs:
        found.floors = {text: floor(program, found.programs["bp"]) for text, program in found.programs.items()}


def agree(case: Case, found: Found, options: argparse.Namespace, budget: Budget, console: Console) -> None:
    """Every executor against ``serial``; on the MLP also dropout and optimisers that are included."""
    for text, program in found.programs.items():
        for executor, streams in (("streams", STREAMS), ("graph", 1), ("graph", STREAMS)):
            name = f"{text}, {executor}, {streams}"
            with _noting(name, found):
                gap = against_serial(program, case.batch, executor, streams)
                found.agreement[name] = {"difference": gap, "agrees": gap <= case.tolerance}
    if "MLP" in case.name:
        for executor in ("streams", "graph"):
            with _noting(f"dropout, {executor}", found):
                found.agreement[f"dropout, {executor}"] = dropout(case.batch.x.device, executor)
        for optimiser in OPTIMISERS:
            with _noting(f"included {optimiser}", found):
                gap = included(found.programs["dkp"], case.batch, "graph", optimiser)
                found.agreement[f"included {optimiser}, graph"] = {"difference": gap, "agrees": gap <= case.tolerance}
    gaps = [entry["difference"] for entry in found.agreement.values() if "difference" in entry]
    wrong = [name for name, entry in found.agreement.items() if not all(entry.values()) and not entry.get("agrees", False)]
    console.print(
        f"  largest difference from serial {max(gaps, default=0.0):.2e}; {len(gaps)} compared; not in order: {wrong}", markup=False
    )


def compare(case: Case, found: Found, options: argparse.Namespace, budget: Budget, console: Console) -> None:
    """Every executor and wiring, beside eager backpropagation and backpropagation in a CUDA graph."""
    makes: list[Make] = [functools.partial(eager, case.model, case.batch), functools.partial(graphed, case.model, case.batch)]
    executors: list[tuple[str, int | None, str]] = [("serial", None, "serial"), ("streams", STREAMS, f"streams, {STREAMS} streams")]
    for text in found.programs:
        makes += [_learner(case, found, text, *one) for one in executors]
        makes += [_graph(case, found, text, streams) for streams in GRAPH_STREAMS]
    _timed("executors", (EAGER, GRAPHED), makes, case, found, options, budget, console)


def pit_against_compiled(case: Case, found: Found, options: argparse.Namespace, budget: Budget, console: Console) -> None:
    """torch.compile's backpropagation beside eager, graphed, and the learners in graphs; and the inductor executor if asked for."""
    makes: list[Make] = [functools.partial(eager, case.model, case.batch), functools.partial(graphed, case.model, case.batch)]
    makes.append(functools.partial(compiled, case.model, case.batch))
    makes.append(functools.partial(compiled, case.model, case.batch, AUTOTUNED, "max-autotune"))
    for text in found.programs:
        makes += [_graph(case, found, text, streams) for streams in (1, STREAMS)]
        if options.inductor:
            makes.append(_learner(case, found, text, "inductor", None, "inductor"))
    _timed("torch.compile", (EAGER, GRAPHED, COMPILED, AUTOTUNED), makes, case, found, options, budget, console)


def _timed(
    title: str, bases: tuple[str, ...], makes: list[Make], case: Case, found: Found, options: argparse.Namespace, budget: Budget,
    console: Console,
) -> None:  # fmt: skip
    contenders = [make() for make in makes]
    stopwatch = cuda_clock if case.batch.x.is_cuda else host_clock
    times = take_turns(contenders, options.rounds, stopwatch, budget.deadline)
    names = [graph_name(wiring, streams) for wiring in case.bounds for streams in GRAPH_STREAMS]
    bounds = {name: case.bounds[name.split(", graph")[0]] for name in names}
    found.tables[title] = rows(contenders, times, bases, bounds)
    found.failures |= {f"{title}: {name}": why for name, why in times.failures.items()}
    if times.late:
        budget.left_out.append(f"{times.late} of {options.rounds} rounds of {case.name}, {title}")
    console.print(table(f"{case.name}, {title}", case.setting, bases, found.tables[title]))
    note(console, times.failures, times.late)


def overlaps(case: Case, found: Found, options: argparse.Namespace, budget: Budget, console: Console) -> None:
    """Pairs of kernels on different streams that run at the same time, under the streams executor and inside its graph."""
    for text in OVERLAPPING:
        for executor in ("streams", "graph"):
            name = f"{text}, {executor}, {STREAMS} streams"
            if text not in found.programs:
                continue
            keep = None
            if options.trace is not None:
                options.trace.mkdir(parents=True, exist_ok=True)
                keep = options.trace / f"{case.name}-{text}-{executor}.json"
            with _noting(name, found):
                contender = _learner(case, found, text, executor, STREAMS, executor)()
                seen = overlap(profiled(lambda own=contender: (own.clear(), own.step()), keep=keep))  # type: ignore[misc]
                found.overlaps[name] = {**asdict(seen), "share": seen.share}
                console.print(f"  {name}: {seen.pairs} pairs overlap, {100 * seen.share:.0f} % of the busy time", markup=False)


def footprints(case: Case, found: Found, options: argparse.Namespace, budget: Budget, console: Console) -> None:
    """Peak memory, each contender alone. torch.compile's is not taken: autotuning allocates for itself."""
    makes: dict[str, Make] = {
        EAGER: functools.partial(eager, case.model, case.batch),
        GRAPHED: functools.partial(graphed, case.model, case.batch),
    }
    for text in found.programs:
        makes[f"{text}, serial"] = _learner(case, found, text, "serial", None, "serial")
        makes[f"{text}, streams, {STREAMS} streams"] = _learner(case, found, text, "streams", STREAMS, "streams")
        makes |= {graph_name(text, streams): _graph(case, found, text, streams) for streams in (1, STREAMS)}
    for place, (name, make) in enumerate(makes.items()):
        if budget.left() <= 0:
            budget.left_out.append(f"peak memory of {len(makes) - place} contenders of {case.name}")
            break
        with _noting(f"peak memory of {name}", found):
            found.peaks[name] = peak_bytes(make)
    base = found.peaks.get(EAGER)
    for name, peak in found.peaks.items():
        share = f", {peak / base:.2f} of eager BP's" if base else ""
        console.print(f"  {name}: {peak / 2**20:.1f} MiB{share}", highlight=False, markup=False)


def _learner(case: Case, found: Found, wiring: str, executor: str, streams: int | None, shown: str) -> Make:
    return functools.partial(
        learning, found.programs[wiring], case.batch, executor, streams, False,
        name=f"{wiring}, {shown}", wiring=wiring, shown=shown, floor=found.floors.get(wiring),
    )  # fmt: skip


def _graph(case: Case, found: Found, wiring: str, streams: int) -> Make:
    return _learner(case, found, wiring, "graph", streams, graph_name(wiring, streams).removeprefix(f"{wiring}, "))


@contextmanager
def _noting(name: str, found: Found) -> Iterator[None]:
    """An error goes into the JSON, and the rest goes on."""
    try:
        yield
    except OutOfTimeError:
        raise
    except Exception as problem:
        found.failures[name] = told(problem)
    gc.collect()
