"""The commands that show and train nothing: explain, draw, timeline, list.

What a command needs besides torch is imported when it runs.
"""

import math
from typing import TYPE_CHECKING

from runtime import options as opt
from runtime.console import WIDTH, output, told

if TYPE_CHECKING:
    from compiler import UpdateProgram
    from compiler.formats import MemoryLayout


def explain(
    model: opt.Model,
    wiring: opt.Wiring,
    input_shape: opt.Shape = "3x32x32",
    classes: opt.Classes = 10,
    batch_size: opt.BatchSize = 32,
    layout: opt.Layout = "preserve",
    json: opt.Json = False,
) -> None:
    """Say what a wiring does on a model: sites, error edges, locking, weight transport, cost."""
    with told():
        from compiler.explain import explain as explained

        report = _program(model, wiring, input_shape, classes, batch_size, layout).report()
        console = output()
        print(
            report.model_dump_json(indent=2) if json else explained(report, console.width if console.is_terminal else WIDTH), end=""
        )


def draw(
    model: opt.Model,
    wiring: opt.Wiring,
    path: opt.Picture,
    input_shape: opt.Shape = "3x32x32",
    classes: opt.Classes = 10,
    batch_size: opt.BatchSize = 32,
) -> None:
    """Draw the forward graph of a model with the error graph that a wiring lays over it."""
    with told():
        _program(model, wiring, input_shape, classes, batch_size).draw(path)
        output().print(f"Drawn to {path}", markup=False, soft_wrap=True)


def _program(
    model: str, wiring: str, input_shape: str, classes: int, batch_size: int, layout: "MemoryLayout" = "preserve"
) -> "UpdateProgram":
    """Compiled for random images.

    Raises:
        OptionError: the model takes no such images.
    """
    import torch

    from compiler import CaptureError, compile
    from runtime.errors import first_line
    from runtime.models import build_model
    from wiring import OptionError, parse_wiring

    parsed, shape = parse_wiring(wiring), _shape(input_shape, batch_size)
    example = torch.randn(batch_size, *shape), torch.arange(batch_size) % classes
    built = build_model(model, shape, classes)
    try:
        return compile(built, parsed, example, layout=layout)
    except CaptureError:
        try:
            with torch.no_grad():
                built(example[0])
        except Exception as itself:
            raise OptionError(
                f"Model {model!r} fails by itself on random inputs, --batch-size {batch_size} of --input-shape {input_shape}: "
                f"{first_line(itself)}. Give an --input-shape and a --batch-size that it takes."
            ) from itself
        raise


def _shape(text: str, batch_size: int) -> tuple[int, ...]:
    """What ``--input-shape`` says."""
    from runtime.room import too_much
    from wiring import OptionError

    parts = text.lower().split("x")
    if not all(part.isdecimal() and len(part) < 10 and int(part) > 0 for part in parts):
        raise OptionError(f"The option --input-shape is {text!r}. Write whole numbers from 1 on with x between them: 3x32x32.")
    shape = tuple(map(int, parts))
    excess = too_much(4 * batch_size * math.prod(shape))
    if excess is not None:
        raise OptionError(
            f"The options --input-shape {text} and --batch-size {batch_size} ask for inputs of {excess}. Give a smaller shape or batch."
        )
    return shape


def timeline(
    model: opt.Model,
    wiring: opt.Wiring,
    folder: opt.Traces,
    streams: opt.Lanes = 2,
    backend: opt.Watched = None,
    input_shape: opt.Shape = "3x32x32",
    classes: opt.Classes = 10,
    batch_size: opt.BatchSize = 32,
    layout: opt.Layout = "preserve",
) -> None:
    """Schedule a step on streams, and show when its tasks should run and when they do."""
    with told():
        from runtime import measure_timeline
        from runtime.allocator import keep_freed_memory
        from runtime.claim import claimed
        from runtime.tables import timeline_notes, timeline_table
        from runtime.timeline import save_timeline

        keep_freed_memory()
        with claimed(folder):  # a folder that cannot be had shows before the step is measured
            measured = measure_timeline(_program(model, wiring, input_shape, classes, batch_size, layout), streams, backend)
            title = f"{wiring} on {model}, batch {batch_size} of {input_shape}: {measured.executor}"
            save_timeline(measured, title, folder)
        output().print(title, style="bold", markup=False, soft_wrap=True)
        output().print(timeline_table(measured))
        output().print(timeline_notes(measured), style="dim", markup=False, soft_wrap=True)
        output().print(f"{folder}: schedule.txt; timeline.json (for ui.perfetto.dev), .png and .svg", markup=False, soft_wrap=True)


def list_all() -> None:
    """List wirings, models and data sets with their options."""
    with told():
        from runtime.tables import data_table, models_table, presets_table

        for table in (presets_table(), models_table(), data_table()):
            output().print(table, end="\n\n")
