"""What lies in a folder already: whether a job may begin there or go on, and a comparison be put there."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.distributed.joining import Launch
from runtime.errors import TrainingError
from runtime.learner import Learner
from runtime.place import difference, read_run
from runtime.recipe import Recipe
from runtime.training import CHECKPOINT, refuse_begun

if TYPE_CHECKING:
    from runtime.jobs import Job

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


def check(job: "Job", resume: bool) -> None:
    """Refuse to overwrite a run, or to go on with what is none or another.

    Raises:
        TrainingError: naming the folder or the first option that differs, and the way out.
    """
    refuse_begun(job.folder, job.checkpoint.exists(), resume, "--resume", "--folder")
    if not resume and (job.folder / COMPARISON).exists():
        raise TrainingError(f"There is a comparison in '{job.folder}' already, which would hide the run. {ANOTHER}")
    if resume:
        _check_options(job)


def _check_options(job: "Job") -> None:
    path = job.folder / "run.json"
    if not path.exists():
        return
    try:
        there = asdict(Recipe()) | json.loads(path.read_text(encoding="utf-8"))["options"]  # older runs know fewer options
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as problem:
        raise TrainingError(
            f"File '{path}' does not say how the run was begun ({problem}). Mend it, or delete it to resume unchecked."
        ) from problem
    for name, here in job.options().items():
        if name not in FREE and there.get(name) != here:
            raise TrainingError(
                f"The run in '{job.folder}' was begun with {name} {_shown(there.get(name))}, not {_shown(here)}. "
                "Resume it with the options that it was begun with; only --epochs, --clip-norm, --backend, --streams, "
                "--data-folder, --watch, --threads and --checkpoint-every may change."
            )


def check_kept(job: "Job", learner: Learner) -> None:
    """Refuse to go on with a run of another wiring or of more epochs, before anything in its folder is written anew.

    Raises:
        TrainingError: naming what differs, and the way out.
        CheckpointError: the checkpoint is damaged.
    """
    tree: Any = read_run(job.checkpoint)
    try:
        wiring, done = tree["identity"]["wiring"], len(tree["history"])
    except (KeyError, TypeError):
        return  # fit, which knows what it writes, tells what this is
    told = difference(wiring, json.loads(learner.program.wiring.to_json()))
    if told is not None:
        raise TrainingError(
            f"The run in '{job.folder}' was begun with another wiring: {told}. Resume it with the --wiring that it was begun "
            "with, or start this one in another --folder. Nothing was changed."
        )
    if done > job.recipe.epochs:
        raise TrainingError(
            f"The option --epochs is {job.recipe.epochs}, but {done} epochs of the run in '{job.folder}' are done. "
            f"Give {done} or more. Nothing was changed."
        )


def refuse_runs(folder: Path) -> None:
    """Refuse to put a comparison where one or a run lies already.

    Raises:
        TrainingError: naming the folder and the way out.
    """
    for name, what in ((COMPARISON, "comparison"), ("run.json", "run"), (CHECKPOINT, "run")):
        if (folder / name).exists():
            raise TrainingError(f"There is a {what} in '{folder}' already: it has {name}. {ANOTHER}")


def begun_by(own: Launch | None, folder: Path) -> bool:
    """Whether an earlier attempt of this torchrun command began the run in ``folder``."""
    if own is None or not own.restarts:
        return False
    try:
        there = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(there, dict) and there.get("launch") == own.name


def _shown(value: object) -> str:
    return "none" if value is None else repr(value)
