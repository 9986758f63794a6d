"""The command ``errorwire``: train, compare, report, reproduce, explain, draw, timeline, list.

What a command needs besides torch is imported when it runs.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runtime import options as opt
from runtime.console import FAILED, output, told
from runtime.showing import draw, explain, list_all, timeline

if TYPE_CHECKING:
    from runtime.comparison import Comparison

app = typer.Typer(
    name="errorwire",
    help="Learning rules without backpropagation: declare where errors travel, compile any PyTorch model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command on the process's arguments."""
    app()


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"errorwire {version('errorwire')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """What holds for every command."""


@app.command()
def train(
    model: opt.Model,
    wiring: opt.Wiring,
    data: opt.Data = "digits",
    data_folder: opt.DataFolder = None,
    limit: opt.Limit = None,
    standardise: opt.Standardise = True,
    epochs: opt.Epochs = 15,
    batch_size: opt.BatchSize = 32,
    optimizer: opt.Optimizer = "adam",
    lr: opt.Rate = 1e-3,
    error_lr: opt.ErrorRate = None,
    momentum: opt.Momentum = None,
    weight_decay: opt.Decay = None,
    clip_norm: opt.Clip = None,
    seed: opt.Seed = 0,
    autocast: opt.Autocast = None,
    layout: opt.Layout = "preserve",
    backend: opt.Backend = "serial",
    streams: opt.Streams = None,
    threads: opt.Threads = None,
    folder: opt.Folder = None,
    resume: opt.Resume = False,
    watch: opt.Watch = True,
    checkpoint_every: opt.CheckpointEvery = None,
) -> None:
    """Train a model by a wiring; metrics, checkpoint and curves are kept in a folder."""
    checkpoint: Path | None = None
    with told(lambda: _kept(checkpoint)):
        from runtime.distributed.joining import joined
        from runtime.errors import TrainingError
        from runtime.jobs import Job, Source, folder_of
        from runtime.jobs import train as trained
        from runtime.recipe import Recipe
        from runtime.summary import outcome

        with joined() as peers:
            if resume and folder is None:
                raise TrainingError("The option --resume needs the run that it goes on with. Give its --folder.")
            _use(threads)
            recipe = Recipe(
                epochs=epochs, batch_size=batch_size, optimizer=optimizer, lr=lr, error_lr=error_lr, momentum=momentum,
                weight_decay=weight_decay, clip_norm=clip_norm, seed=seed, autocast=autocast, layout=layout, backend=backend, streams=streams,
            )  # fmt: skip
            source = Source(data, data_folder, limit, standardise)
            place = folder or Path(peers.by_first(lambda: str(folder_of(model, wiring))))
            job = Job(model, wiring, source, recipe, place, watch, checkpoint_every)
            checkpoint = job.checkpoint
            history = trained(job, resume, _show, peers)
            output().print(outcome(history), style="bold", markup=False, soft_wrap=True)


def _show(heading: str, text: str) -> None:
    console = output()
    console.print(f"[bold]{heading:7}[/]", end=" ")
    console.print(text, markup=False, soft_wrap=True)


def _use(threads: int | None) -> None:
    """Set the process up for steps: this many threads in an operator, freed memory kept for the next step."""
    from runtime.allocator import keep_freed_memory

    keep_freed_memory()
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def _kept(checkpoint: Path | None) -> str:
    if checkpoint is None:
        return "nothing was kept."
    if checkpoint.exists():
        return (
            f"the checkpoint lies in '{checkpoint}'. The same command with --folder {checkpoint.parent} --resume goes on from it."
        )
    return "there is no checkpoint yet."


@app.command()
def compare(
    wirings: opt.Wirings,
    model: opt.Model,
    data: opt.Data = "digits",
    data_folder: opt.DataFolder = None,
    limit: opt.Limit = None,
    standardise: opt.Standardise = True,
    epochs: opt.Epochs = 15,
    batch_size: opt.BatchSize = 32,
    optimizer: opt.Optimizer = "adam",
    lr: opt.Rate = 1e-3,
    error_lr: opt.ErrorRate = None,
    momentum: opt.Momentum = None,
    weight_decay: opt.Decay = None,
    clip_norm: opt.Clip = None,
    seed: opt.Seed = 0,
    autocast: opt.Autocast = None,
    layout: opt.Layout = "preserve",
    backend: opt.Backend = "serial",
    streams: opt.Streams = None,
    threads: opt.Threads = None,
    folder: opt.Folder = None,
) -> None:
    """Train a model by each of several wirings, and put accuracy, angle and cost side by side."""
    with told():
        from runtime.distributed.joining import refuse_company
        from runtime.files import fresh_folder
        from runtime.jobs import Source
        from runtime.recipe import Recipe

        refuse_company("compare")
        _use(threads)
        recipe = Recipe(
            epochs=epochs, batch_size=batch_size, optimizer=optimizer, lr=lr, error_lr=error_lr, momentum=momentum,
            weight_decay=weight_decay, clip_norm=clip_norm, seed=seed, autocast=autocast, layout=layout, backend=backend, streams=streams,
        )  # fmt: skip
        images = Source(data, data_folder, limit, standardise).load(seed)
        place = folder or fresh_folder("compare", model)
    with told(lambda: f"the rows that were done lie in '{place}'." if place.exists() else "no row was done."):
        from runtime.begun import refuse_runs
        from runtime.claim import claimed
        from runtime.compare import compare as compared
        from runtime.tables import comparison_table, row_line

        with claimed(place), output().status("") as status:
            refuse_runs(place)

            def done(comparison: "Comparison") -> None:
                comparison.save(place)
                status.console.print(row_line(comparison), soft_wrap=True)

            comparison = compared(model, wirings, images, recipe, stage=status.update, done=done)
        output().print(comparison_table(comparison))
        _pictures(comparison, place)
        asked = [row for row in comparison.rows if row.wiring in {text.strip() for text in wirings}]
    if all(row.outcome != "trained" for row in asked):
        raise typer.Exit(FAILED)


def _pictures(comparison: "Comparison", folder: Path) -> None:
    from runtime.page import write_comparison_page
    from runtime.plots import accuracies, save_figure, site_angles, step_time_bars

    for name, picture in (("accuracy", accuracies), ("step_time", step_time_bars), ("angles", site_angles)):
        save_figure(picture(comparison), folder / name)
    write_comparison_page(comparison, folder)
    output().print(
        f"{folder}: report.html; comparison.json and .csv; accuracy, step_time and angles as .png and .svg",
        markup=False,
        soft_wrap=True,
    )


@app.command()
def reproduce(
    study: opt.Study = None,
    seeds: opt.Seeds = "0,1,2",
    cases: opt.Cases = "*",
    epochs: opt.StudyEpochs = None,
    limit: opt.TrainingLimit = None,
    data_folder: opt.DataFolder = None,
    threads: opt.Threads = None,
    folder: opt.StudyResults = None,
    listed: opt.Studies = False,
    page: opt.Page = None,
) -> None:
    """Run a paper's study: cases that have ended are left alone, one that was stopped goes on from its checkpoint."""
    with told(lambda: "the same command goes on from the last checkpoint."):
        from runtime.distributed.joining import refuse_company
        from runtime.reproduce import command

        refuse_company("reproduce")
        if listed:
            output().print(command.table())
        elif page is not None:
            command.write_page(page, folder, lambda line: output().print(line, markup=False, soft_wrap=True))
        else:
            _use(threads)
            chosen = command.chosen(study, cases, seeds)
            order = command.order(chosen.study, folder, epochs, limit, data_folder)
            for line in command.run(chosen, order):
                output().print(line, markup=False, soft_wrap=True)


@app.command()
def report(runs: opt.Runs, to: opt.ReportFile = None) -> None:
    """Write a page about runs: the wiring as a picture, schedule, curves, angles, norms; one HTML file that needs no network."""
    with told():
        from runtime.page import page_path, read_runs, write_page

        path = page_path(runs, to)
        write_page(path, read_runs(runs))
        output().print(f"Written to {path}", markup=False, soft_wrap=True)


for show in (explain, draw, timeline):
    app.command()(show)
app.command(name="list")(list_all)
