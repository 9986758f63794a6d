"""A training job in words: what is about to be trained, and how it went."""

from typing import TYPE_CHECKING

from runtime.comparison import Cost
from runtime.data import Data
from runtime.distributed.peers import ALONE, Peers
from runtime.learner import Learner
from runtime.metrics import History
from runtime.recipe import Recipe, learns_synapses

if TYPE_CHECKING:
    from runtime.jobs import Job


def summary(job: "Job", learner: Learner, data: Data, peers: Peers = ALONE) -> list[tuple[str, str]]:
    """What is about to be trained, in a few lines of heading and text."""
    program, recipe, cost = learner.program, job.recipe, Cost.of(learner.program)
    parameters = sum(parameter.numel() for parameter in learner.forward_parameters())
    work = "no backpropagation to compare with: it cannot train this model"
    if cost.flops_ratio is not None:
        work = f"{cost.flops_ratio:.2f} of BP's FLOPs, {cost.activation_ratio:.2f} of its activation bytes at the peak"
    shape, done = "x".join(map(str, data.input_shape)), ", standardised" if job.source.standardise else ""
    return [
        ("model", f"{job.model}: {parameters:,} parameters, sites: {len(program.plan.errors.sites)}"),
        ("wiring", f"{job.wiring}: {cost.error_parameters:,} error parameters"),
        ("a step", work),
        ("data", f"{data.name}: {len(data.train.y):,} training and {len(data.test.y):,} test images {shape}{done}"),
        ("recipe", _recipe(recipe, learns_synapses(program))),
        (
            "backend",
            learner.backend + (f", in {peers.size} processes, each with its share of every batch" if peers.several else ""),
        ),
        ("folder", str(job.folder)),
    ]


def _recipe(recipe: Recipe, errors: bool) -> str:
    """How a learner is trained; ``errors``: whether it learns error synapses, and so at their rate."""
    settings = {
        "lr": recipe.lr,
        "error lr": recipe.error_lr if errors else None,
        "momentum": recipe.momentum,
        "weight decay": recipe.weight_decay,
        "clip norm": recipe.clip_norm,
    }
    given = [f"{name} {value:g}" for name, value in settings.items() if value is not None]
    length = f"{recipe.epochs} epoch{'s' * (recipe.epochs > 1)}"
    return ", ".join([length, f"batches of {recipe.batch_size}", recipe.optimizer, *given, f"seed {recipe.seed}"])


def outcome(history: History) -> str:
    """A finished run in a line."""
    last = history.last
    best = max(history.epochs, key=lambda epoch: epoch.test_accuracy or 0.0)
    seconds = sum(epoch.seconds for epoch in history.epochs)
    better = f" (best {best.test_accuracy:.2%} in epoch {best.epoch})" if best.epoch != last.epoch else ""
    return f"Test accuracy {last.test_accuracy:.2%} after epoch {last.epoch}{better}; {seconds:.1f} s of training."
