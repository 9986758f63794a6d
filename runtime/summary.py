"""A training job in words: what is about to be trained, and how it went."""

from typing import TYPE_CHECKING

from runtime.comparison import Cost
from runtime.data import Data
from runtime.distributed.peers import ALONE, Peers
from runtime.learner import Learner
from runtime.metrics import History

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
    rates = f"lr {recipe.lr:g}" + (f", error lr {recipe.error_lr:g}" if recipe.error_lr is not None else "")
    return [
        ("model", f"{job.model}: {parameters:,} parameters, sites: {len(program.plan.errors.sites)}"),
        ("wiring", f"{job.wiring}: {cost.error_parameters:,} error parameters"),
        ("a step", work),
        ("data", f"{data.name}: {len(data.train.y):,} training and {len(data.test.y):,} test images {shape}{done}"),
        ("recipe", f"{recipe.epochs} epochs, batches of {recipe.batch_size}, {recipe.optimizer}, {rates}, seed {recipe.seed}"),
        (
            "backend",
            learner.backend + (f", in {peers.size} processes, each with its share of every batch" if peers.several else ""),
        ),
        ("folder", str(job.folder)),
    ]


def outcome(history: History) -> str:
    """A finished run in a line."""
    last = history.last
    best = max(history.epochs, key=lambda epoch: epoch.test_accuracy or 0.0)
    seconds = sum(epoch.seconds for epoch in history.epochs)
    better = f" (best {best.test_accuracy:.2%} in epoch {best.epoch})" if best.epoch != last.epoch else ""
    return f"Test accuracy {last.test_accuracy:.2%} after epoch {last.epoch}{better}; {seconds:.1f} s of training."
