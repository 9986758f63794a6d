"""Rows as tables for people."""

from collections.abc import Mapping, Sequence

from contenders import Contender
from measure import Bound, Ratio, Row
from rich.console import Console
from rich.table import Table


def console() -> Console:
    """One that is wide enough for the tables where nobody looks on."""
    own = Console()
    return own if own.is_terminal else Console(width=200)


def table(title: str, setting: str, bases: Sequence[str], rows: Sequence[Row]) -> Table:
    """One line a contender: its ratios over ``bases`` with their quartiles, the wiring's FLOPs, and its bounds."""
    made = Table(title=f"{title}: step times ({setting})", title_justify="left")
    made.add_column("wiring or BP")
    made.add_column("executor")
    made.add_column("ms", justify="right")
    for base in bases:
        made.add_column(f"over {base}", justify="right")
    made.add_column("FLOPs / BP", justify="right")
    made.add_column("bound")
    for row in rows:
        own = row.contender
        floor = "" if own.floor is None else f"{own.floor:.2f}"
        cells = [spread(row.over[base]) if base in row.over else "" for base in bases]
        bounds = "; ".join(bound_text(row, bound, bases) for bound in row.bounds)
        made.add_row(own.wiring or own.name, _executor(own), f"{row.milliseconds:.3g}", *cells, floor, bounds)
    return made


def _executor(own: Contender) -> str:
    """The executor; of ``auto`` also what it picked, without its times."""
    return (own.backend() or "auto").partition(" (")[0] if own.shown == "auto" else own.shown or ""


def spread(ratio: Ratio) -> str:
    """The median, and the quartiles behind it."""
    return f"{ratio.median:.3f} ({ratio.low:.3f} to {ratio.high:.3f})"


def bound_text(row: Row, bound: Bound, bases: Sequence[str]) -> str:
    """A bound, and whether it is met; with the ratio itself where no column shows it."""
    met = row.met(bound)
    said = "not measured" if met is None else "met" if met else "not met"
    shown = "" if bound.over in bases or met is None else f": {spread(row.over[bound.over])}"
    return f"<= {bound.at_most:.2f} of {bound.over}{shown}, {said}"


def note(console: Console, failures: Mapping[str, str], late: int) -> None:
    """What is missing from a table, and why."""
    reasons: dict[str, list[str]] = {}
    for name, why in failures.items():
        reasons.setdefault(why, []).append(name)
    for why, names in reasons.items():
        console.print(f"  left out: {'; '.join(names)}: {why}", highlight=False, markup=False)
    if late:
        console.print(f"  {late} rounds left out for want of time")
