"""A training run in a forked process, which says through shared memory what it is doing, and can end at any of its file operations."""

import mmap
import os
import signal
import stat
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from runtime import Learner, checkpoint, jobs, metrics, run
from runtime.data import Data
from runtime.jobs import Job, Source
from runtime.recipe import Recipe

MODEL, WIRING = "mlp:width=16,depth=2,dropout=0.2", "dkp"
LIMIT, EPOCHS, EVERY = 500, 4, 3
RECIPE = Recipe(epochs=EPOCHS, batch_size=32, optimizer="adam", lr=0.01, seed=3)
COMMAND = [
    "train", "--model", MODEL, "--wiring", WIRING, "--limit", str(LIMIT), "--epochs", str(EPOCHS), "--batch-size", "32", "--lr", "0.01",
    "--seed", "3", "--threads", "1", "--checkpoint-every", str(EVERY),
]  # fmt: skip
PHASES = ("compile", "begin", "step", "save", "write", "epoch end", "end")
OPERATIONS = ("open", "half written", "written", "link", "rename", "remove")
_STATE = struct.Struct("iii")  # phase, operations so far, the last one


@dataclass
class Marks:
    """Where a child stands, in memory that it shares with its parent."""

    memory: mmap.mmap = field(default_factory=lambda: mmap.mmap(-1, _STATE.size))

    def get(self) -> tuple[int, int, int]:
        return _STATE.unpack_from(self.memory)  # type: ignore[return-value]

    def put(self, phase: int | None = None, count: int | None = None, operation: int | None = None) -> None:
        now = self.get()
        new = (old if given is None else given for old, given in zip(now, (phase, count, operation), strict=True))
        _STATE.pack_into(self.memory, 0, *new)

    @property
    def phase(self) -> str:
        return PHASES[self.get()[0]]

    @property
    def operation(self) -> str:
        return OPERATIONS[self.get()[2]]

    def during(self, phase: str, holder: Any, name: str) -> None:
        """Let a function say that it is at work."""
        original: Callable[..., Any] = getattr(holder, name)

        def marked(*args: Any, **keywords: Any) -> Any:
            before = self.get()[0]
            self.put(phase=PHASES.index(phase))
            result = original(*args, **keywords)
            self.put(phase=before)  # what raises is where the run ends
            return result

        setattr(holder, name, marked)


@dataclass
class Warm:
    """What a warm parent has ready, so that a child begins with ``fit``: data, a learner with every batch size traced, random numbers."""

    data: Data
    learner: Learner
    generator: torch.Tensor

    @classmethod
    def up(cls) -> "Warm":
        torch.set_num_threads(1)
        job = job_in(Path("unused"))
        data = job.source.load(RECIPE.seed)
        learner = job.learner(data)
        generator = torch.get_rng_state()
        before = {name: value.clone() for name, value in learner.state_dict().items()}
        for size in (RECIPE.batch_size, LIMIT % RECIPE.batch_size):
            learner.learn(data.train.x[:size], data.train.y[:size])
        learner.zero_grad()
        learner.load_state_dict(before)
        return cls(data, learner, generator)


def job_in(folder: Path) -> Job:
    return Job(MODEL, WIRING, Source(limit=LIMIT), RECIPE, folder, watch=False, checkpoint_every=EVERY)


def fork(folder: Path, marks: Marks, warm: Warm | None, last_operation: int = 0) -> int:
    """Begin or go on with the run in ``folder`` in a child, whose process id is returned.

    ``warm``: without it the child compiles, as the command does. ``last_operation``: the child kills itself at this one, from 1; it only counts for 0.
    """
    marks.put(0, 0, 0)
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        _silence(folder)
        _mark(marks, folder, last_operation)
        _train(folder, warm)
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException as problem:  # told by the exit code, and in the log
        print(repr(problem), file=sys.stderr, flush=True)
    os._exit(code)


def _silence(folder: Path) -> None:
    log = os.open(folder.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(log, stream)


def _train(folder: Path, warm: Warm | None) -> None:
    resume = (folder / "checkpoint.safetensors").exists()
    if warm is None:
        from runtime.cli import app

        app([*COMMAND, "--no-watch", "--folder", str(folder), *(["--resume"] if resume else [])])
        return
    Source.load = lambda *_: warm.data  # type: ignore[method-assign]
    Job.learner = lambda *_: warm.learner  # type: ignore[method-assign]
    jobs.summary = lambda *_: []
    jobs.save_figure = lambda figure, stem: (stem, stem)
    torch.set_rng_state(warm.generator)
    jobs.train(job_in(folder), resume, lambda heading, text: None)


def _mark(marks: Marks, folder: Path, last_operation: int) -> None:
    marks.during("begin", jobs, "fit")
    marks.during("step", run.Run, "_steps")
    marks.during("epoch end", run, "evaluate")
    marks.during("epoch end", run.Run, "_end_epoch")
    marks.during("epoch end", metrics.MetricsFile, "append")
    marks.during("epoch end", metrics.Board, "append")
    marks.during("save", run.Run, "_save")
    marks.during("write", checkpoint, "put")
    marks.during("end", jobs, "curves")
    marks.during("end", jobs, "save_figure")
    _kill_at(marks, str(folder), last_operation)


def _kill_at(marks: Marks, folder: str, last: int) -> None:
    """Count what is done to files below ``folder``, and die at one of these operations."""
    fsync = os.fsync

    def counted(operation: str) -> bool:
        count = marks.get()[1] + 1
        marks.put(count=count, operation=OPERATIONS.index(operation))
        return count == last

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        name = {"open": "open", "os.rename": "rename", "os.link": "link", "os.remove": "remove"}.get(event)
        if name is not None and str(arguments[0]).startswith(folder) and counted(name):
            os.kill(os.getpid(), signal.SIGKILL)

    def torn(descriptor: int) -> None:
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode) and counted("half written"):
            os.ftruncate(descriptor, found.st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(descriptor)
        if counted("written"):
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    os.fsync = torn
