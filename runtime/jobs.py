"""A training job as the command line names it: its learner, and the files that say what it was."""

import json
import platform
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compiler import compile
from runtime.claim import claimed
from runtime.comparison import Cost
from runtime.data import Data, Split, load_data, standardise
from runtime.distributed.joining import Launch, device_of_process, in_turn, launch
from runtime.distributed.peers import ALONE, Peers
from runtime.distributed.portion import Portion
from runtime.errors import TrainingError
from runtime.files import fresh_folder, write_whole
from runtime.learner import Learner
from runtime.measures import device_of, moved
from runtime.metrics import History
from runtime.models import build_model
from runtime.place import difference, read_run
from runtime.plots import curves, save_figure
from runtime.recipe import Recipe
from runtime.rehearsal import rehearse
from runtime.training import CHECKPOINT, fit
from runtime.watching import watch
from wiring import parse_wiring
from wiring.errors import ErrorwireError

COMPARISON = "comparison.json"
ANOTHER = "Choose another --folder."
FREE = (
    "epochs",
    "clip_norm",
    "backend",
    "streams",
    "data_folder",
    "wiring",
    "watch",
)  # what a resumed run may change; the wiring is compared by what it is, not by its text


@dataclass(frozen=True)
class Source:
    """Where images come from: a data set's name, its folder, and what is done with it."""

    name: str = "digits"
    folder: Path | None = None
    limit: int | None = None
    standardise: bool = True

    def load(self, seed: int) -> Data:
        """The data.

        Raises:
            DataError: it cannot be had.
        """
        data = load_data(self.name, self.folder, seed, self.limit)
        return standardise(data) if self.standardise else data


@dataclass(frozen=True)
class Job:
    """``model`` and ``wiring`` are texts; ``folder`` keeps the run; ``watch``: measure angles and norms behind each epoch.
    ``checkpoint_every``: in steps, or at every epoch's end.
    """

    model: str
    wiring: str
    source: Source
    recipe: Recipe
    folder: Path
    watch: bool = True
    checkpoint_every: int | None = None

    @property
    def checkpoint(self) -> Path:
        return self.folder / CHECKPOINT

    def learner(self, data: Data, peers: Peers = ALONE) -> Learner:
        """Build and compile, from the recipe's seed; for several processes, on each one's device, with the largest share of a batch.

        Raises:
            OptionError, InvalidWiring, ModelError: a text that names nothing.
            CompileError: the two do not go together.
        """
        wiring = parse_wiring(self.wiring)
        torch.manual_seed(self.recipe.seed)
        device = device_of_process()
        model = build_model(self.model, data.input_shape, data.classes).to(device)
        if peers.several:  # the statistics of the whole batch, as in one process
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        example = moved(first_share(data.train, self.recipe, peers), device)
        recipe = self.recipe
        return recipe.learner(compile(model, wiring, example, autocast=recipe.dtype, layout=recipe.layout, world=peers.world))

    def options(self) -> dict[str, Any]:
        """Everything that decides what the run does, by the names of the command line."""
        source = self.source
        folder = None if source.folder is None else str(source.folder)
        data = {"data": source.name, "data_folder": folder, "limit": source.limit, "standardise": source.standardise}
        return {"model": self.model, "wiring": self.wiring, **data, **asdict(self.recipe), "watch": self.watch}

    def check(self, resume: bool) -> None:
        """Refuse to overwrite a run, or to go on with what is none or another.

        Raises:
            TrainingError: naming the folder or the first option that differs, and the way out.
        """
        if resume and not self.checkpoint.exists():
            raise TrainingError(f"There is no run to resume in '{self.folder}': it has no {CHECKPOINT}. Check --folder.")
        if not resume and self.checkpoint.exists():
            raise TrainingError(
                f"There is a run in '{self.folder}' already. Go on with it by --resume, or choose another --folder."
            )
        if not resume and (self.folder / COMPARISON).exists():
            raise TrainingError(f"There is a comparison in '{self.folder}' already, which would hide the run. {ANOTHER}")
        if resume:
            self._check_options()

    def _check_options(self) -> None:
        path = self.folder / "run.json"
        if not path.exists():
            return
        try:
            there = asdict(Recipe()) | json.loads(path.read_text(encoding="utf-8"))["options"]  # older runs know fewer options
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as problem:
            raise TrainingError(
                f"File '{path}' does not say how the run was begun ({problem}). Mend it, or delete it to resume unchecked."
            ) from problem
        for name, here in self.options().items():
            if name not in FREE and there.get(name) != here:
                raise TrainingError(
                    f"The run in '{self.folder}' was begun with {name} {_shown(there.get(name))}, not {_shown(here)}. "
                    "Resume it with the options that it was begun with; only --epochs, --clip-norm, --backend, --streams, "
                    "--data-folder, --watch, --threads and --checkpoint-every may change."
                )

    def check_kept(self, learner: Learner) -> None:
        """Refuse to go on with a run of another wiring or of more epochs, before anything in its folder is written anew.

        Raises:
            TrainingError: naming what differs, and the way out.
            CheckpointError: the checkpoint is damaged.
        """
        tree: Any = read_run(self.checkpoint)
        try:
            wiring, done = tree["identity"]["wiring"], len(tree["history"])
        except (KeyError, TypeError):
            return  # fit, which knows what it writes, tells what this is
        told = difference(wiring, json.loads(learner.program.wiring.to_json()))
        if told is not None:
            raise TrainingError(
                f"The run in '{self.folder}' was begun with another wiring: {told}. Resume it with the --wiring that it was begun "
                "with, or start this one in another --folder. Nothing was changed."
            )
        if done > self.recipe.epochs:
            raise TrainingError(
                f"The option --epochs is {self.recipe.epochs}, but {done} epochs of the run in '{self.folder}' are done. "
                f"Give {done} or more. Nothing was changed."
            )

    def describe(self, learner: Learner, data: Data) -> None:
        """Write ``wiring.json``, which ``--wiring`` takes, and ``run.json``: options, versions and what the data look like.

        Raises:
            FileError: the disk refuses.
        """
        own = launch()
        facts = {"threads": torch.get_num_threads(), "versions": versions(), "data": looks(data)}
        facts |= {} if own is None else {"processes": own.size, "launch": own.name}
        text = json.dumps({"options": self.options(), **facts}, indent=2)
        write_whole(self.folder / "wiring.json", learner.program.wiring.to_json())
        write_whole(self.folder / "run.json", text + "\n")


def first_share(split: Split, recipe: Recipe, peers: Peers) -> tuple[Tensor, Tensor]:
    """As many of a split's first samples as the first process's share of a batch has, and as all of it alone."""
    count = Portion(0, peers.size).samples(recipe.batch_size)
    return split.x[:count], split.y[:count]


def refuse_runs(folder: Path) -> None:
    """Refuse to put a comparison where one or a run lies already.

    Raises:
        TrainingError: naming the folder and the way out.
    """
    for name, what in ((COMPARISON, "comparison"), ("run.json", "run"), (CHECKPOINT, "run")):
        if (folder / name).exists():
            raise TrainingError(f"There is a {what} in '{folder}' already: it has {name}. {ANOTHER}")


def rehearse_last(learner: Learner, split: Split, batch_size: int) -> None:
    """Rehearse the last batch of an epoch too where it is smaller than the others: BatchNorm, for one, takes no single sample.

    Raises:
        TrainingError: the learner takes no batch of that size.
    """
    left = len(split.y) % batch_size
    if not left or left == len(split.y):
        return
    try:
        rehearse(learner, *moved((split.x[:left], split.y[:left]), device_of(learner)))
    except ErrorwireError as problem:
        raise TrainingError(
            f"The last batch of an epoch has {left} {'sample' if left == 1 else 'samples'}: {len(split.y)} training images in "
            f"batches of {batch_size}. A step on so small a batch fails, though one on a whole batch does not ({problem}) "
            "Choose another --batch-size or --limit."
        ) from problem


def looks(data: Data) -> dict[str, Any]:
    """What a model must know of data to be built for it."""
    return {"input_shape": list(data.input_shape), "classes": data.classes}


def versions() -> dict[str, str]:
    """What a run is made by."""
    return {"errorwire": version("errorwire"), "torch": torch.__version__, "python": platform.python_version()}


def train(job: Job, resume: bool, show: Callable[[str, str], object], peers: Peers = ALONE) -> History:
    """Do a job: metrics, checkpoint, ``wiring.json``, ``run.json`` and ``curves`` are in its folder afterwards.

    Several processes do it together; the first of them writes and shows. What torchrun starts anew goes on from the checkpoint.

    Arguments:
        show: called with heading and text for each line of what is about to be trained.

    Raises:
        ErrorwireError: one of its kinds, for whatever does not fit or go well.
    """
    resume = peers.by_first(lambda: _resumes(job, resume))
    data, recipe = in_turn(peers, lambda: job.source.load(job.recipe.seed)), job.recipe
    learner = job.learner(data, peers)
    rehearse(learner, *moved(first_share(data.train, recipe, peers), device_of(learner)))
    if not peers.several:
        rehearse_last(learner, data.train, recipe.batch_size)
    if peers.first:
        for heading, text in summary(job, learner, data, peers):
            show(heading, text)
    with claimed(job.folder) if peers.first else nullcontext():
        if peers.first:
            job.check(resume)  # once more: another run may have been here since
            if resume:
                job.check_kept(learner)
            job.describe(learner, data)
        history = fit(
            learner,
            recipe.optimiser(learner),
            data.train,
            epochs=recipe.epochs,
            test=data.test,
            batch_size=recipe.batch_size,
            seed=recipe.seed,
            clip_norm=recipe.clip_norm,
            measure=watch(*moved(first_share(data.test, recipe, peers), device_of(learner))) if job.watch else None,
            measure_start=job.watch,
            folder=job.folder,
            checkpoint_every=job.checkpoint_every,
            resume=resume,
        )
        if peers.first:
            save_figure(curves(f"{job.wiring} on {job.model}, {data.name}", history.epochs), job.folder / "curves")
    return history


def _resumes(job: Job, asked: bool) -> bool:
    """Whether a job goes on from its checkpoint: where that is asked for, or torchrun has started the very run anew."""
    resume = asked or (job.checkpoint.exists() and begun_by(launch(), job.folder))
    job.check(resume)
    return resume


def begun_by(own: Launch | None, folder: Path) -> bool:
    """Whether an earlier attempt of this torchrun command began the run in ``folder``."""
    if own is None or not own.restarts:
        return False
    try:
        there = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(there, dict) and there.get("launch") == own.name


def folder_of(model: str, wiring: str) -> Path:
    """A folder below ``runs`` that is not there yet, or the one that an earlier attempt of this torchrun command has begun."""
    fresh, own = fresh_folder(model, wiring), launch()
    begun = [path for path in fresh.parent.glob("*") if begun_by(own, path)]
    return begun[0] if begun else fresh


def summary(job: Job, learner: Learner, data: Data, peers: Peers = ALONE) -> list[tuple[str, str]]:
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


def _shown(value: object) -> str:
    return "none" if value is None else repr(value)
