"""Writes docs/measured.md from the JSON files that the benchmarks left: every figure there is one that a command measured.

    python benchmarks/measured.py [--out docs/measured.md]

A file that is not there is a line that says so; its place in the page stays.
"""

import argparse
import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "measured.md"
HEAD = """# Speed, memory, toughness

`make measured` writes this page from the JSON files in `benchmarks`. Below each heading stands the command whose results the file holds, as it
was typed: where it names a JSON file elsewhere, that was moved to `benchmarks`, a script without a folder was run in its own, and where several
commands stand, their results were put together in one file. What has not been measured says so. Times are of a shared machine without a GPU.
"""
FACTS = ("torch", "date", "commit", "command", "python", "cpu", "cores")
Found = Mapping[str, Any]


def table(columns: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown; the first column to the left, the others to the right."""
    columns = list(columns)
    rule = ["---", *("---:" for _ in columns[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, rule, *rows)) + "\n"


def steps(found: Found) -> str:
    """A table a suite of ``step_time.py`` or ``attach.py``: times, ratios over what every row has one to, FLOPs, and bounds."""
    parts = []
    for suite in found["suites"]:
        rows = suite["rows"]
        bases = [base for base in rows[0]["over"] if all(base in row["over"] for row in rows)]
        bounded, counted = any(row["bounds"] for row in rows), any(row["flops_over_bp"] is not None for row in rows)
        columns = ["step", "ms", *(f"over {base}" for base in bases), *(["FLOPs / BP"] * counted), *(["bound"] * bounded)]
        lines = [_step(row, bases, counted, bounded) for row in rows]
        missing = [f"Not measured: {name}: {why}.\n" for name, why in suite["failures"].items()]
        parts.append("\n".join([f"### {suite['model']}: {suite['setting']}\n", table(columns, lines), *missing]))
    return "\n".join(parts)


def _step(row: Found, bases: Sequence[str], counted: bool, bounded: bool) -> list[str]:
    first, *others = (row["over"][base] for base in bases)
    flops = "" if row["flops_over_bp"] is None else f"{row['flops_over_bp']:.2f}"
    ratios = [_spread(first), *(f"{other['median']:.2f}" for other in others)]
    bounds = "; ".join(_bound(row, bound, bases) for bound in row["bounds"])
    return [row["contender"], f"{row['milliseconds']:.3g}", *ratios, *([flops] * counted), *([bounds] * bounded)]


def _spread(ratio: Found) -> str:
    """The median, and the quartiles behind it."""
    return f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"


def _bound(row: Found, bound: Found, bases: Sequence[str]) -> str:
    """A bound and whether it is met, with the ratio where no column shows it."""
    met = {True: "met", False: "not met", None: "not measured"}[bound["met"]]
    ratio = row["over"].get(bound["over"])
    shown = f": {_spread(ratio)}" if ratio and bound["over"] not in bases else ""
    return f"{bound['at_most']:.2f} of {bound['over']}{shown}, {met}"


def memory(found: Found) -> str:
    """Activations alive at the peak of a step, by depth and wiring: counted, as the allocator saw them, and foreseen by streams."""
    shown = {
        "counted": "counted, MB", "allocator": "handed out by the allocator, MB", "foreseen": "foreseen, MB",
        "2 streams": "foreseen on 2 streams, MB", "4 streams": "foreseen on 4 streams, MB",
    }  # fmt: skip
    columns, fields = ["ResNet, wiring", *shown.values()], list(shown)
    rows = [
        [f"{row['depth']}, `{row['wiring']}`", *(f"{row[field] / 1e6:.1f}" if field in row else "" for field in fields)]
        for row in found["rows"]
    ]
    return f"Batch {found['batch']}.\n\n" + table(columns, rows)


def digits(found: Found) -> str:
    """A line a preset, a column a recipe: the mean over the seeds, with the lowest and the highest."""
    recipes = list(dict.fromkeys(_recipe(row) for row in found["rows"]))
    reached = {(row["preset"], _recipe(row)): row["accuracies"] for row in found["rows"]}
    lines = []
    for preset in dict.fromkeys(row["preset"] for row in found["rows"]):
        own = [reached.get((preset, recipe)) for recipe in recipes]
        lines.append([f"`{preset}`", *(f"{statistics.mean(v):.1f} ({min(v):.1f} to {max(v):.1f})" if v else "" for v in own)])
    head = f"{found['epochs']} epochs; seeds {', '.join(map(str, found['seeds']))}; {found['seconds']:.0f} s in all."
    return f"{head}\n\n{table(['preset', *recipes], lines)}"


def _recipe(row: Found) -> str:
    return f"`{row['model']}`, {row['optimiser']}{'' if row['standardised'] else ', pixels not standardised'}"


def processes(found: Found) -> str:
    """Steps of one process and of two, and the speed-up beside the one foreseen for processes with a processor each."""
    network = found["network"]
    columns = ["model", "wiring", "step alone, ms", "step of two, ms", "MB summed a step", "speed-up", "quartiles", "foreseen"]
    rows = [[_rounded(row[column]) for column in columns] for row in found["rows"]]
    carried = f"{network['bandwidth'] / 1e9:.2f} GB/s and {network['latency'] * 1e6:.0f} µs a message"
    return f"Medians over {found['rounds']} rounds. {network['name'].capitalize()} carried {carried}.\n\n{table(columns, rows)}"


def _rounded(value: object) -> str:
    if isinstance(value, list):
        return " to ".join(map(_rounded, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def plain(found: Found) -> str:
    """Any JSON object: single values as one table, then each list or object of objects as one."""
    own = {key: value for key, value in found.items() if key not in ("machine", *FACTS)}
    single = {key: value for key, value in own.items() if not isinstance(value, Mapping) and not _records(value)}
    parts = [table(["", "value"], [[_words(key), _value(value)] for key, value in single.items()])] if single else []
    for key, value in own.items():
        if key in single:
            continue
        records = dict(enumerate(value)) if isinstance(value, list) else value
        nested = all(isinstance(record, Mapping) for record in records.values())
        named = {name: record if nested else {"value": record} for name, record in records.items()}
        columns = list(dict.fromkeys(column for record in named.values() for column, cell in record.items() if _single(cell)))
        rows = [[BRIEF.get(column, _value)(record.get(column, "")) for column in columns] for record in named.values()]
        if not isinstance(value, list):
            columns, rows = ["", *columns], [[_words(name), *row] for name, row in zip(named, rows, strict=True)]
        parts.append(f"### {_words(key).capitalize()}\n\n{table(map(_words, columns), rows)}")
    return "\n".join(parts)


def _records(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _single(value: object) -> bool:
    return not isinstance(value, Mapping) and not _records(value)


def _words(key: object) -> str:
    return str(key).replace("_", " ")


def _value(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_value, value)) or "none"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _day(date: object) -> str:
    return f"{str(date).replace('T', ' ')[:16]} UTC" if date else ""


def _commit(text: object) -> str:
    """Twelve digits, and whether the tree had changes."""
    commit, *changes = str(text).split(" ", 1)
    return " ".join([commit[:12], *changes])


BRIEF = {"date": _day, "commit": _commit}


@dataclass(frozen=True)
class Source:
    """A JSON file: what it is about, the command that writes it, and how it becomes Markdown."""

    title: str
    command: str
    text: str
    show: Callable[[Found], str]


SOURCES = {
    "step_time": Source(
        "Step time",
        "make bench",
        "A step is forward, loss and every update, without an optimiser. Contenders of a model take turns in one process; ratios are taken "
        "within a round; shown are medians, and over the first with their quartiles. *Bound* is what a ratio was to be at most.",
        steps,
    ),
    "memory": Source(
        "Memory",
        "make bench",
        "Activations alive at the peak of a step. *Counted*: what lived while it ran under `serial`. *Handed out*: what torch's allocator had "
        "given to the step, operators' own scratch memory included. *Foreseen*: by the schedule's list, on one stream and on more; on several "
        "streams nothing has been counted.",
        memory,
    ),
    "attach": Source(
        "Drop-in",
        "python benchmarks/attach.py --json benchmarks/attach.json",
        "An attached model's forward, loss and `loss.backward()` over `Learner.learn` and over eager backpropagation: contenders take turns "
        "as above, and times are the processor's.",
        steps,
    ),
    "processes": Source(
        "Many processes",
        "python benchmarks/processes.py --json benchmarks/processes.json",
        "How many more samples a second two processes learn than one, each with the same batch and one thread, over gloo. What `explain` foresees is "
        "for processes with a processor of their own; here both, and gloo's own threads, share two cores and their memory.",
        processes,
    ),
    "digits": Source(
        "Handwritten digits",
        "python benchmarks/digits.py --json benchmarks/digits.json",
        "Test accuracy in %, 1437 images to train and 360 to test, by the recipes of `tests/test_digits.py`: the mean over the seeds (lowest to "
        "highest). `mlp` is the 64-128-128-128-10 tanh network. One test image is 0.28 %.",
        digits,
    ),
    "kills": Source(
        "Stopped and resumed",
        "python benchmarks/kills.py --json benchmarks/kills.json",
        "Runs killed at random moments and at their file operations, and resumed. Survived: the last state is, bit for bit, that of a run that "
        "nothing stopped.",
        plain,
    ),
    "fuzz": Source(
        "Inputs drawn at random",
        "make fuzz",
        "Wirings, command lines and checkpoints that hypothesis made up; failed would be anything but an error of errorwire's own, or a way past "
        "its guards. Targets are tried apart: the command is that of the last run, and day and commit stand in a target's row where they were "
        "noted. Most inputs are refused where they are read, as they should be; of wirings, *accepted* ones went to JSON and back, *compiled* "
        "ones through the compiler too.",
        plain,
    ),
    "page": Source(
        "Report page",
        "python benchmarks/page.py --json benchmarks/page.json",
        "The page that `errorwire report` writes: its size, and how long a browser takes to show it. Mind the load average: the machine was "
        "busy where it stands above the number of cores.",
        plain,
    ),
}


def section(name: str, source: Source, folder: Path) -> str:
    """A source's heading, where its figures are from, and the figures."""
    head, path = f"## {source.title}\n\n{source.text}\n", folder / f"{name}.json"
    if not path.exists():
        return f"{head}\nNot measured. `{source.command}` writes `benchmarks/{path.name}`.\n"
    found = json.loads(path.read_text(encoding="utf-8"))
    return f"{head}\n{_origin(found, source.command, path.name)}\n\n{source.show(found)}"


def _origin(found: Found, command: str, name: str) -> str:
    """The command, the machine and the day, as far as the file tells."""
    machine = found.get("machine", {})
    facts = machine if isinstance(machine, Mapping) else {"cpu": machine}
    facts = {key: found[key] for key in FACTS if key in found} | dict(facts)
    where = [
        str(facts["cpu"]) if "cpu" in facts else "",
        f"{facts['cores']} cores" if "cores" in facts else "",
        f"torch {facts['torch']}" if "torch" in facts else "",
        _day(facts.get("date")),
        f"load average {facts['load'][0]}" if facts.get("load") else "",
        f"commit {_commit(facts['commit'])}" if "commit" in facts else "",
    ]
    wrote = facts.get("command", command)
    return f"`benchmarks/{name}` is of `{wrote}`: {'; '.join(filter(None, where)) or 'machine and day not noted'}."


def page(folder: Path = HERE) -> str:
    """The whole page from the JSON files in a folder."""
    return "\n".join([HEAD, *(section(name, source, folder) for name, source in SOURCES.items())])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=PAGE)
    out = parser.parse_args().out
    out.write_text(page(), encoding="utf-8")
    print(f"{out}: {sum((HERE / f'{name}.json').exists() for name in SOURCES)} of {len(SOURCES)} measured")


if __name__ == "__main__":
    main()
