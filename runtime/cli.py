"""The command ``errorwire``: train, compare, explain, draw, list."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from runtime.console import FAILED, output, told

app = typer.Typer(
    name="errorwire",
    help="Learning rules without backpropagation: declare where errors travel, compile any PyTorch model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Model = Annotated[str, typer.Option(help="A built-in model with options, as resnet8:width=8, or package.module:factory.")]
WiringText = Annotated[str, typer.Option(help="A preset with options, as rec_lra:depth=2,beta=0.1, or a .json file.")]
DataName = Annotated[str, typer.Option(help="digits, mnist, fashion-mnist or cifar10.")]
DataFolder = Annotated[Path | None, typer.Option(help="Where the data's original files lie; without it OpenML is asked.")]
Limit = Annotated[int | None, typer.Option(help="Keep only so many images of each split.")]
Standardise = Annotated[bool, typer.Option(help="Shift and scale every pixel by its mean and deviation + 0.1 over the training split.")]
Epochs = Annotated[int, typer.Option(help="Passes over the training split.")]
BatchSize = Annotated[int, typer.Option(help="Images a step.")]
OptimizerName = Annotated[Literal["adam", "sgd", "adamw"], typer.Option(help="Of torch.optim.")]
Rate = Annotated[float, typer.Option(help="Learning rate.")]
ErrorRate = Annotated[float | None, typer.Option(help="Learning rate of learned error synapses, if it is another.")]
Momentum = Annotated[float | None, typer.Option(help="SGD's momentum.")]
Decay = Annotated[float | None, typer.Option(help="Weight decay, of error synapses too.")]
Seed = Annotated[int, typer.Option(help="Draws the model, the error synapses, the digits' split and the batches.")]
Autocast = Annotated[Literal["bf16"] | None, typer.Option(help="Mixed precision.")]
Threads = Annotated[int | None, typer.Option(help="Of torch; default: its own choice.")]
Shape = Annotated[str, typer.Option(help="Of one input, CxHxW.")]
Classes = Annotated[int, typer.Option(help="Outputs of the model.")]


def main() -> None:
    """Run the command on the process's arguments."""
    app()
