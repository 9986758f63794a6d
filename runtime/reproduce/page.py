"""The page that puts every result beside the paper's figure."""

import os
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.files import write_whole
from runtime.plots import save_figure
from runtime.reproduce.figures import draw
from runtime.reproduce.results import Result, load_all
from runtime.reproduce.studies import STUDIES
from runtime.reproduce.study import WORDS, Case, Metric, Study

HEAD = """# Results beside the papers

`errorwire reproduce NAME` runs a study, and `errorwire reproduce --page docs/results.md` writes this page from the JSON files that
the runs leave, one a case and seed. Figures are of the last epoch, not of the best one: the mean over seeds and, from two
seeds on, ± their standard deviation. *Difference* is ours less the paper's. What has not been run is left blank. *Minutes* are a run's
wall time in training steps, without tests and measurements, on a machine shared with other work: they show its load at that hour more than what
a rule costs, and rows may differ by it tenfold; for that see [step times](performance.md), which were taken side by side. *Epochs / full*: those
that were run, and the paper's, or ours where the paper's are not known and the text says so.
"""


def save_page(path: Path, results: Path) -> list[Path]:
    """Write the page of all studies, and their pictures to ``figures`` beside it; what was written.

    Arguments:
        results: the folder that has a folder of JSON files for each study.

    Raises:
        TrainingError: a file there holds no result. FileError: the disk refuses.
    """
    sections, written = [HEAD, contents()], []
    for study in STUDIES.values():
        found = by_case(study, load_all(results / study.name))
        pictures = _pictures(study, found, path.parent / "figures")
        links = [f"![{title}]({Path(os.path.relpath(file, path.parent)).as_posix()})\n" for title, file in pictures.items()]
        sections += [section(study, found), *links]
        written += list(pictures.values())
    write_whole(path, "\n".join(sections))
    return [path, *written]


def contents() -> str:
    """A link to every study's section."""
    kept = {study.title: re.sub(r"[^\w -]", "", study.title.lower()).replace(" ", "-") for study in STUDIES.values()}
    return "\n".join(f"- [{title}](#{anchor})" for title, anchor in kept.items()) + "\n"


def by_case(study: Study, results: Sequence[Result]) -> dict[str, list[Result]]:
    """Of each case the results that belong together: with the most training samples, and of these with the most epochs."""
    found: dict[str, list[Result]] = {}
    for case in study.cases:
        own = [result for result in results if result.case == case.name]
        best = max((_size(result) for result in own), default=None)
        found[case.name] = [result for result in own if _size(result) == best]
    return found


def _size(result: Result) -> tuple[float, int]:
    return float("inf") if result.limit is None else result.limit, result.epochs["asked"]


def section(study: Study, results: Mapping[str, Sequence[Result]]) -> str:
    """A study in words and its table."""
    cut = any(result.limit is not None for found in results.values() for result in found)
    columns = ["case"]
    for metric in study.metrics:
        columns += [f"{WORDS[metric]}: paper", "here", "difference"] if _published(study, metric) else [WORDS[metric]]
    columns += ["seeds", "epochs / full", *(["training samples"] if cut else []), "minutes"]
    shown = [case for case in study.cases if case.published or results[case.name]]
    rows = [_row(study, Entry(case, results[case.name]), cut) for case in shown]
    left = len(study.cases) - len(shown)
    more = [f"Not shown: {left} cases with neither a published figure nor a result here.\n"] if left else []
    lines = [f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *rows)] if rows else []
    head = [f"## {study.title}", "", f"{study.paper}.", "", study.text, "", f"`errorwire reproduce {study.name}`", ""]
    return "\n".join([*head, *lines, *([""] if lines else []), *more])


@dataclass(frozen=True)
class Entry:
    """A case and its results, a seed each."""

    case: Case
    results: Sequence[Result]

    def values(self, metric: Metric) -> list[float]:
        return [result.final[metric] for result in self.results if metric in result.final]

    def here(self, metric: Metric) -> str:
        """Mean and standard deviation; how many seeds diverged, where any did."""
        values, diverged = self.values(metric), sum(result.outcome == "diverged" for result in self.results)
        words = [f"{diverged} diverged"] if diverged else []
        if values:
            spread = f" ± {_number(statistics.stdev(values), metric)}" if len(values) > 1 else ""
            words.insert(0, f"{_number(statistics.mean(values), metric)}{spread}")
        return ", ".join(words)

    def difference(self, metric: Metric) -> str:
        values, paper = self.values(metric), self.case.published.get(metric)
        return "" if paper is None or not values else f"{round(statistics.mean(values) - paper, 2) + 0.0:+.2f}"  # 0 has no minus


def _row(study: Study, entry: Entry, cut: bool) -> list[str]:
    cells = [f"`{entry.case.name}`"]
    for metric in study.metrics:
        if _published(study, metric):
            paper = entry.case.published.get(metric)
            cells += ["" if paper is None else f"{paper:.2f}", entry.here(metric), entry.difference(metric)]
        else:
            cells.append(entry.here(metric))
    found = entry.results
    if not found:
        return [*cells, "", f" / {entry.case.epochs}", *([""] if cut else []), ""]
    done = sorted({result.epochs["done"] for result in found})
    epochs = "-".join(map(str, dict.fromkeys((done[0], done[-1]))))
    limit = [] if not cut else ["all" if found[0].limit is None else str(found[0].limit)]
    minutes = statistics.mean(result.training_seconds for result in found) / 60
    return [*cells, str(len(found)), f"{epochs} / {entry.case.epochs}", *limit, f"{minutes:.1f}"]


def _published(study: Study, metric: Metric) -> bool:
    return any(metric in case.published for case in study.cases)


def _number(value: float, metric: Metric) -> str:
    return f"{value:.2f}" if metric.endswith("error") else f"{value:.5f}"


def _pictures(study: Study, results: Mapping[str, Sequence[Result]], folder: Path) -> dict[str, Path]:
    """The study's pictures by title, as far as there is something to show."""
    saved = {}
    for picture in study.figures:
        figure = draw(study, picture, results)
        if figure is not None:
            _, saved[f"{study.title}, {picture.title}"] = save_figure(figure, folder / f"{study.name}-{picture.name}")
    return saved
