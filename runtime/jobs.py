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
from runtime.begun import begun_by, check, check_kept
from runtime.claim import claimed
from runtime.data import Data, Split, load_data, standardise
from runtime.distributed.joining import device_of_process, in_turn, launch
from runtime.distributed.peers import ALONE, Peers
from runtime.distributed.portion import Portion
from runtime.files import fresh_folder, write_whole
from runtime.learner import Learner
from runtime.measures import device_of, moved
from runtime.metrics import History
from runtime.models import build_model
from runtime.plots import curves, save_figure
from runtime.recipe import Recipe, warn_of_idle_rate
from runtime.rehearsal import rehearse, rehearse_last
from runtime.rng import seed_rng
from runtime.summary import summary
from runtime.training import CHECKPOINT
from runtime.watching import watch
from wiring import parse_wiring


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
        seed_rng(self.recipe.seed)
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
    warn_of_idle_rate(recipe, [learner.program], f"wiring {job.wiring!r} learns")
    rehearse(learner, *moved(first_share(data.train, recipe, peers), device_of(learner)))
    if not peers.several:
        rehearse_last(learner, data.train, recipe.batch_size)
    if peers.first:
        for heading, text in summary(job, learner, data, peers):
            show(heading, text)
    with claimed(job.folder) if peers.first else nullcontext():
        if peers.first:
            check(job, resume)  # once more: another run may have been here since
            if resume:
                check_kept(job, learner)
            job.describe(learner, data)
        history = recipe.fit(
            learner,
            data,
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
    check(job, resume)
    with claimed(job.folder):  # a folder that cannot be had shows before the work is done
        return resume


def folder_of(model: str, wiring: str) -> Path:
    """A folder below ``runs`` that is not there yet, or the one that an earlier attempt of this torchrun command has begun."""
    fresh, own = fresh_folder(model, wiring), launch()
    begun = [path for path in fresh.parent.glob("*") if begun_by(own, path)]
    return begun[0] if begun else fresh
