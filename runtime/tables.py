"""What a terminal shows as a table: wirings, models and data sets that are there, and the outcome of a comparison."""

import inspect
from collections.abc import Callable
from typing import Any

from rich.table import Table
from rich.text import Text

from runtime.comparison import Comparison, Row
from runtime.data import DATA_SETS
from runtime.data.openml import SOURCES
from runtime.models import MODELS
from runtime.models.registry import GIVEN
from wiring import PRESETS

NOTHING = "-"


def presets_table() -> Table:
    """Every preset with its options and what it does."""
    table = _table("Wirings: --wiring NAME or NAME:key=value,..., or a .json file", "name", "options", "what it does")
    for name, preset in PRESETS.items():
        table.add_row(name, _options(preset), _first_line(preset))
    return table


def models_table() -> Table:
    """Every built-in model with its options; models of one kind share a row."""
    title = "Models: --model NAME or NAME:key=value,..., or package.module:factory for your own"
    table = _table(title, "name", "options", "what it is")
    alike: dict[tuple[str, str], list[str]] = {}
    for name, factory in MODELS.items():
        alike.setdefault((_options(factory), _first_line(factory)), []).append(name)
    for (options, line), names in alike.items():
        table.add_row(", ".join(names), options, line)
    return table


def data_table() -> Table:
    """Every data set and where it comes from."""
    table = _table("Data: --data NAME", "name", "what it is")
    for name, loader in DATA_SETS.items():
        source = SOURCES.get(name)
        if source is None:
            table.add_row(name, _first_line(loader))
            continue
        images = f"{source.train:,} training and {source.test:,} test images {'x'.join(map(str, source.shape))}"
        table.add_row(name, f"{images}; original files in --data-folder, else OpenML's {source.title}")
    return table


def comparison_table(comparison: Comparison) -> Table:
    """A row a wiring, in the order of the command line."""
    recipe = comparison.recipe
    title = (
        f"{comparison.model} ({comparison.parameters:,} parameters) on {comparison.data}: {recipe.epochs} epochs, "
        f"batches of {recipe.batch_size}, {recipe.optimizer}, lr {recipe.lr:g}, seed {recipe.seed}"
    )
    table = Table(title=title, title_justify="left", title_style="bold", caption_justify="left", caption_style="dim")
    table.add_column("wiring", overflow="fold")
    for heading in ("test\naccuracy", "train\naccuracy", "angle\nto BP", "step time\n/ BP", "error\nparameters"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("FLOPs\n/ BP", "activation\nbytes / BP"):
        table.add_column(heading, justify="right", no_wrap=True)
    most = max((row.angle.tensors for row in comparison.rows if row.angle), default=0)
    for row in comparison.rows:
        table.add_row(*_cells(row, most))
    table.caption = _caption(comparison)
    return table


def _cells(row: Row, most: int) -> list[str | Text]:
    failed = None if row.outcome == "trained" else Text(row.outcome, style="red")
    cells: list[str | Text] = [row.wiring, failed or _percent(row.test_accuracy), _percent(row.train_accuracy)]
    if row.angle is None:
        cells.append(NOTHING)
    else:
        part = f" ({row.angle.tensors} of {most})" if row.angle.tensors < most else ""
        cells.append(f"{row.angle.mean:.1f}°{part}")
    cells.append(NOTHING if row.step is None else f"{row.step.ratio:.2f} ({row.step.low:.2f}-{row.step.high:.2f})")
    if row.cost is None:
        return [*cells, NOTHING, NOTHING, NOTHING]
    return [*cells, f"{row.cost.error_parameters:,}", f"{row.cost.flops_ratio:.2f}", f"{row.cost.activation_ratio:.2f}"]


def _caption(comparison: Comparison) -> str:
    step = next((row.step for row in comparison.rows if row.step), None)
    lines = ["Accuracies: last epoch. Angle: mean over parameter tensors, behind the last step, on one test batch."]
    if step is not None:
        lines.append(
            f"Step time: median (quartiles) of {step.rounds} rounds in turn, without optimiser; "
            f"BP is eager forward, loss and backward(), {step.bp_milliseconds:.2f} ms."
        )
    return "\n".join(lines)


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for number, heading in enumerate(headings):
        table.add_column(heading, overflow="fold", style="cyan" if number == 0 else None)
    return table


def _options(function: Callable[..., Any]) -> str:
    """``key=default`` for each parameter that an option text can set."""
    parameters = inspect.signature(function).parameters
    given = {name: parameter.default for name, parameter in parameters.items() if name not in GIVEN}
    return ", ".join(f"{name}={_text(default)}" for name, default in given.items()) or NOTHING


def _text(value: object) -> str:
    """A value as an option text has it."""
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _first_line(function: Callable[..., Any]) -> str:
    return (inspect.getdoc(function) or NOTHING).splitlines()[0].replace("``", "")


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1%}"


def row_line(comparison: Comparison) -> Text:
    """The newest row in a line."""
    row = comparison.rows[-1]
    if row.outcome != "trained":
        return Text.assemble((f"{row.wiring} {row.outcome}: ", "bold red"), (row.reason or "", "red"))
    seconds = sum(epoch.seconds for epoch in row.history)
    return Text(f"{row.wiring}: test accuracy {_percent(row.test_accuracy)}, {seconds:.1f} s of training")
