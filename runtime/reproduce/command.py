"""What the command ``errorwire reproduce`` does, for the command line and for the files in ``examples/reproduce``."""

import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from rich.table import Table

from runtime.errors import TrainingError
from runtime.reproduce.engine import Order, runs_of
from runtime.reproduce.results import Result
from runtime.reproduce.studies import STUDIES
from runtime.reproduce.study import WORDS, Case, Study

CHECKOUT = Path("examples/reproduce")
RUNS = Path("runs/reproduce")
LISTED = 9  # cases of a study in the table of studies


@dataclass(frozen=True)
class Chosen:
    """Cases of a study and seeds."""

    study: Study
    cases: tuple[Case, ...]
    seeds: tuple[int, ...]


def chosen(name: str | None, cases: str = "*", seeds: str = "0,1,2") -> Chosen:
    """What the command line names.

    Raises:
        TrainingError: no such study or case, or seeds that are no whole numbers from 0 on.
    """
    if name is None or name not in STUDIES:
        near = get_close_matches(name or "", STUDIES, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        said = "No study was named." if name is None else f"No study is called {name!r}.{hint}"
        raise TrainingError(f"{said} Studies: {', '.join(STUDIES)}.")
    if not all(part.strip().isdecimal() for part in seeds.split(",")):
        raise TrainingError(f"The option --seeds is {seeds!r}. Write whole numbers from 0 on with commas between: 0,1,2.")
    return Chosen(STUDIES[name], STUDIES[name].fitting(cases), tuple(dict.fromkeys(map(int, seeds.split(",")))))


def order(
    study: Study, folder: Path | None = None, epochs: int | None = None, limit: int | None = None, data_folder: Path | None = None
) -> Order:
    """How they are run: results below ``folder``, checkpoints below ``runs/reproduce``, or beside the results of a given folder."""
    results = results_folder(folder) / study.name
    runs = (RUNS if folder is None else folder / "runs") / study.name
    program = Path(sys.argv[0]).name.replace("__main__.py", "errorwire")
    return Order(results, runs, shlex.join([program, *sys.argv[1:]]), epochs, limit, data_folder)


def results_folder(folder: Path | None) -> Path:
    """Where results lie: the folder that was given; in a checkout, that of the repository's results."""
    if folder is not None:
        return folder
    return CHECKOUT / "results" if CHECKOUT.is_dir() else RUNS / "results"


def run(what: Chosen, how: Order) -> Iterator[str]:
    """Run what has not ended; a line a run behind it.

    Raises:
        ErrorwireError: one of its kinds, for whatever does not fit or go well.
    """
    runs = list(runs_of(what.study, what.cases, what.seeds, how))
    for number, each in enumerate(runs, 1):
        place = f"{each.name} ({number} of {len(runs)})"
        ended = each.ended()
        if ended is not None:
            yield f"{place}: {outcome(ended)}, in '{each.path}' already"
            continue
        yield f"{place}: {each.epochs} epochs"
        yield f"{place}: {outcome(each.work())}"


def outcome(result: Result) -> str:
    """A result in words."""
    if result.outcome == "diverged":
        return f"diverged in epoch {result.epochs['done'] + 1} ({result.reason})"
    numbers = ", ".join(
        f"{WORDS[metric].replace(' in %', '')} {value:.4g}{' %' * metric.endswith('error')}"
        for metric, value in result.final.items()
    )
    return f"{result.epochs['done']} epochs, {numbers}, {result.training_seconds:.0f} s of training"


def table() -> Table:
    """Every study in a row."""
    found = Table(title="Studies: errorwire reproduce NAME", title_justify="left", title_style="bold")
    for heading in ("name", "cases", "epochs", "what it is"):
        found.add_column(heading, overflow="fold")
    for study in STUDIES.values():
        epochs = sorted({case.epochs for case in study.cases})
        lengths = "-".join(dict.fromkeys(str(n) for n in (epochs[0], epochs[-1])))
        names = [case.name for case in study.cases]
        more = [f"... ({len(names)} in all)"] if len(names) > LISTED else []
        found.add_row(study.name, ", ".join(names[:LISTED] + more), lengths, f"{study.title}; {study.paper}")
    return found


def write_page(path: Path, folder: Path | None, show: Callable[[str], object]) -> None:
    """Write all results of all studies as a page, with its figures beside it.

    Raises:
        TrainingError, FileError: a file of results that cannot be read, or a disk that refuses.
    """
    from runtime.reproduce.page import save_page  # matplotlib takes a third of a second to load

    show(", ".join(map(str, save_page(path, results_folder(folder)))))
