"""What a terminal shows as a table: wirings, models and data sets that are there, and the outcome of a comparison."""

import inspect
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from compiler.simulation import makespan
from runtime.comparison import Comparison, Row
from runtime.data import DATA_SETS
from runtime.data.openml import SOURCES
from runtime.executors.watch import Timeline
from runtime.models import MODELS
from runtime.models.registry import GIVEN
from runtime.recipe import Recipe
from wiring import all_presets

NOTHING = "-"
ABREAST = 4  # streams that stand beside each other in a table of 80 columns
COLUMNS = (
    "test\naccuracy",
    "training\naccuracy",
    "angle\nto BP",
    "step time\n/ BP",
    "error\nnumbers",
    "FLOPs\n/ BP",
    "memory\n/ BP",
)


def presets_table() -> Table:
    """Every preset with its options and what it does."""
    table = _table("Wirings: --wiring NAME or NAME:key=value,..., or a .json file", "name", "options", "what it does")
    for name, preset in all_presets().items():
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
        f"{comparison.model} ({comparison.parameters:,} parameters) on {comparison.data}: {recipe.epochs} epoch{'s' * (recipe.epochs > 1)}, "
        f"batches of {recipe.batch_size}, {recipe.optimizer}, lr {recipe.lr:g}, seed {recipe.seed}"
        f"{_backend(recipe)}"
    )
    table = Table(title=title, title_justify="left", title_style="bold", caption_justify="left", caption_style="dim")
    table.box, table.padding, table.pad_edge, table.show_edge = SIMPLE_HEAD, (0, 0, 0, 1), False, False
    table.add_column("wiring", overflow="fold")
    for heading in COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in comparison.rows:
        table.add_row(*_cells(row))
    table.caption = _caption(comparison)
    return table


def _backend(recipe: Recipe) -> str:
    """Where it is not the usual one."""
    if recipe.backend == "serial":
        return ""
    return f", {recipe.backend}" + ("" if recipe.streams is None else f" on {recipe.streams} streams")


def _cells(row: Row) -> list[str | Text]:
    failed = None if row.outcome == "trained" else Text(row.outcome, style="red")
    cells: list[str | Text] = [row.wiring, failed or _percent(row.test_accuracy), _percent(row.train_accuracy)]
    if row.angle is None:
        cells.append(NOTHING)
    else:
        part = f" {row.angle.tensors}/{row.angle.parameters}" if row.angle.tensors < row.angle.parameters else ""
        cells.append(f"{row.angle.mean:.1f}°{part}")
    cells.append(NOTHING if row.step is None else f"{row.step.ratio:.2f} ±{(row.step.high - row.step.low) / 2:.2f}")
    if row.cost is None:
        return [*cells, NOTHING, NOTHING, NOTHING]
    return [*cells, f"{row.cost.error_parameters:,}", _ratio(row.cost.flops_ratio), _ratio(row.cost.activation_ratio)]


def _caption(comparison: Comparison) -> str:
    step = next((row.step for row in comparison.rows if row.step), None)
    lines = [
        "Accuracies: last epoch, in training over the epoch.",
        "Angle: mean over parameter tensors (or those of them that have one), after the last step.",
        "Error numbers: how many the error synapses hold. Memory: activations alive at the peak of a step.",
    ]
    if step is not None:
        lines.append(
            f"Step time: median of {step.rounds} rounds ± half the distance of the quartiles, no optimiser; "
            f"BP is eager forward, loss and backward(), {step.bp_milliseconds:.2f} ms."
        )
    return "\n".join(lines)


def timeline_table(timeline: Timeline) -> Table:
    """Predicted and measured: milliseconds of a step, and how busy each stream is; with many streams, a row for each."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("", style="cyan")
    headings = ("step", *(f"stream {stream}" for stream in range(timeline.schedule.streams)))
    rows = [
        (f"{1e3 * makespan(spans):.2f} ms", *(f"busy {share:.0%}" for share in timeline.busy(group)))
        for group, spans in timeline.groups.items()
    ]
    wide = timeline.schedule.streams <= ABREAST
    for heading in headings if wide else timeline.groups:
        table.add_column(heading, justify="right")
    for first, cells in zip(timeline.groups if wide else headings, rows if wide else zip(*rows, strict=True), strict=True):
        table.add_row(first, *cells)
    return table


def timeline_notes(timeline: Timeline) -> str:
    """What the table's numbers are."""
    alone = sum(span.end - span.start for span in timeline.predicted)
    return (
        f"{len(timeline.predicted)} tasks; one behind the other {1e3 * alone:.2f} ms predicted. "
        f"Measured: the median step of {timeline.steps}; with nobody looking on a step takes {1e3 * timeline.unwatched:.2f} ms."
    )


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for number, heading in enumerate(headings):
        table.add_column(heading, overflow="fold", style="cyan" if number == 0 else None)
    return table


def _options(function: Callable[..., Any]) -> str:
    """``key=default`` for each parameter that an option text can set, and behind ``|`` what else it may be."""
    parameters = inspect.signature(function).parameters.values()
    return ", ".join(_option(parameter) for parameter in parameters if parameter.name not in GIVEN) or NOTHING


def _option(parameter: inspect.Parameter) -> str:
    others = get_args(parameter.annotation) if get_origin(parameter.annotation) is Literal else ()
    values = dict.fromkeys((parameter.default, *others))
    return f"{parameter.name}={'|'.join(map(_text, values))}"


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
    picked = f"; {row.backend}" if comparison.recipe.backend == "auto" else ""
    return Text(f"{row.wiring}: test accuracy {_percent(row.test_accuracy)}, {seconds:.1f} s of training{picked}")


def _ratio(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}"
