"""The options of the command, declared once for all of its parts."""

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

_TRAINING, _DATA, _MACHINE = "Training", "Data", "Machine"


def path(text: str) -> Path:
    """What a path on the command line stands for, a ``~`` in front being the home folder, quoted or not.

    Raises:
        typer.BadParameter: it is empty, which ``Path`` takes for the current folder.
    """
    if not text:
        raise typer.BadParameter("The path is empty. Give one; the current folder is '.'.")
    return Path(os.path.expanduser(text))


Model = Annotated[
    str,
    typer.Option(
        help="A built-in model with options, as resnet8:width=8, or package.module:factory, called with input_shape and classes "
        "by name, each if its signature has it."
    ),
]
Wiring = Annotated[str, typer.Option(help="A preset with options, as rec_lra:depth=2,beta=0.1, or a .json file.")]
Wirings = Annotated[list[str], typer.Argument(help="Presets with options, as dfa rec_lra:depth=2, or .json files.")]
Shape = Annotated[str, typer.Option(help="Of one input, CxHxW.")]
Classes = Annotated[int, typer.Option(min=1, help="Outputs of the model.")]
Json = Annotated[bool, typer.Option("--json", help="The whole report as JSON.")]
Picture = Annotated[Path, typer.Argument(parser=path, help="Where to draw: a .svg, .png or .dot file.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Samples a step.")]

Data = Annotated[str, typer.Option(help="digits, mnist, fashion-mnist, cifar10, cifar100 or svhn.", rich_help_panel=_DATA)]
DataFolder = Annotated[
    Path | None, typer.Option(parser=path, help="Where the original files lie; without it OpenML is asked.", rich_help_panel=_DATA)
]
Limit = Annotated[int | None, typer.Option(min=1, help="Keep only so many images of each split.", rich_help_panel=_DATA)]
Standardise = Annotated[
    bool,
    typer.Option(help="Shift and scale each pixel by its mean and deviation (+ 0.1) in training.", rich_help_panel=_DATA),
]

Epochs = Annotated[int, typer.Option(min=1, help="Passes over the training images.", rich_help_panel=_TRAINING)]
Optimizer = Annotated[Literal["adam", "sgd", "adamw"], typer.Option(help="Of torch.optim.", rich_help_panel=_TRAINING)]
Rate = Annotated[float, typer.Option("--lr", help="Learning rate.", rich_help_panel=_TRAINING)]
ErrorRate = Annotated[
    float | None, typer.Option("--error-lr", help="Rate of learned error synapses, if another.", rich_help_panel=_TRAINING)
]
Momentum = Annotated[float | None, typer.Option(help="SGD's momentum.", rich_help_panel=_TRAINING)]
Decay = Annotated[float | None, typer.Option(help="Weight decay, of error synapses too.", rich_help_panel=_TRAINING)]
Clip = Annotated[
    float | None, typer.Option("--clip-norm", help="Cut each step's updates to this length.", rich_help_panel=_TRAINING)
]
Seed = Annotated[
    int, typer.Option(min=0, help="Draws model, error synapses, batches, and the split of digits.", rich_help_panel=_TRAINING)
]
Autocast = Annotated[Literal["bf16"] | None, typer.Option(help="Mixed precision.", rich_help_panel=_MACHINE)]
Layout = Annotated[
    Literal["preserve", "channels_last"],
    typer.Option(
        help="Memory format of the maps inside a step; channels_last is faster for convolutions.", rich_help_panel=_MACHINE
    ),
]
Backend = Annotated[
    str, typer.Option(help="serial, threads (CPU), streams or graph (CUDA), inductor, auto.", rich_help_panel=_MACHINE)
]
Streams = Annotated[int | None, typer.Option(help="How many the backend runs on; else its own choice.", rich_help_panel=_MACHINE)]
Watched = Annotated[
    str | None, typer.Option("--backend", help="threads (the default on a CPU), serial, or streams (CUDA, the default there).")
]
Lanes = Annotated[int, typer.Option("--streams", help="How many the schedule has, 1 to 256.")]
Study = Annotated[str | None, typer.Argument(help="A study's name; --list shows them.")]
Studies = Annotated[bool, typer.Option("--list", help="Show the studies.")]
Page = Annotated[
    Path | None, typer.Option(parser=path, help="Write all results beside the papers' figures to this .md file, and exit.")
]
Seeds = Annotated[str, typer.Option(help="With commas between; each draws weights, error synapses and batches.")]
Cases = Annotated[str, typer.Option(help="Patterns of case names, with commas between.")]
StudyEpochs = Annotated[int | None, typer.Option("--epochs", min=1, help="In place of the paper's.")]
TrainingLimit = Annotated[int | None, typer.Option("--limit", min=1, help="Keep only so many training samples.")]
StudyResults = Annotated[
    Path | None,
    typer.Option(
        "--folder", parser=path, help="Where the results of all studies lie; default: examples/reproduce/results in a checkout."
    ),
]
Traces = Annotated[Path, typer.Argument(parser=path, help="Where to put schedule.txt and timeline.json, .png and .svg.")]
Threads = Annotated[int | None, typer.Option(min=1, max=4096, help="Of torch; else its own choice.", rich_help_panel=_MACHINE)]
Watch = Annotated[
    bool,
    typer.Option(
        help="Measure each epoch, for the report, angles to BP on one batch and norms of weights.", rich_help_panel="Results"
    ),
]
Folder = Annotated[
    Path | None,
    typer.Option(parser=path, help="Where the results go; without it to a new folder below runs/.", rich_help_panel="Results"),
]
CheckpointEvery = Annotated[
    int | None,
    typer.Option("--checkpoint-every", min=1, help="Steps; else at every epoch's end.", rich_help_panel="Results"),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with the run in --folder, given the same options.", rich_help_panel="Results")
]
Runs = Annotated[list[Path], typer.Argument(parser=path, help="Folders of runs or comparisons, to be shown beside each other.")]
ReportFile = Annotated[
    Path | None,
    typer.Option(
        "--to", parser=path, help="The .html file to write; without it report.html in the folder, or here for several folders."
    ),
]
