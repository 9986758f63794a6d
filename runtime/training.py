"""``fit``: epochs, validation, metrics, checkpoints, and a run that goes on where it was stopped, bit for bit."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from runtime.batches import Batches, Samples, batches_of, pair
from runtime.checkpoint import capture_rng, restore_rng
from runtime.errors import NonFiniteLoss, TrainingError
from runtime.interruption import Interruption
from runtime.learner import Learned, Learner
from runtime.measures import device_of, evaluate, moved
from runtime.metrics import Board, EpochMetrics, History, MetricsFile
from runtime.place import Place, RunFile
from runtime.progress import Display, display
from runtime.request import Request, check

CHECKPOINT = "checkpoint.safetensors"


def fit(
    learner: Learner,
    optimizer: Optimizer,
    train: Samples,
    *,
    epochs: int,
    test: Samples | None = None,
    batch_size: int = 32,
    seed: int = 0,
    scheduler: LRScheduler | None = None,
    clip_norm: float | None = None,
    folder: Path | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
    progress: bool = True,
) -> History:
    """Train a learner.

    With a folder the run is kept there: ``metrics.csv``, ``tensorboard/`` where TensorBoard is installed, and
    ``checkpoint.safetensors``, written at the start, at every epoch's end (or every ``checkpoint_every`` steps) and where
    Ctrl-C stops the run, always behind a whole step. With ``resume`` the run goes on from it as if it had not been stopped:
    same bits, given the same data, arguments and number of threads. Rates and other settings of optimiser and scheduler
    come from the checkpoint; only ``epochs``, ``test``, ``clip_norm`` and what is shown or written may be others. Its
    learner alone is ``load_tree(folder / "checkpoint.safetensors", "run")["learner"]``, a state dict.

    A DataLoader is taken as it is: in the middle of an epoch, resuming loads the batches before the place once more. Random
    states that only its workers know (``persistent_workers=True``) or that a sampler hides come back with no checkpoint.
    ``seed`` orders the batches; dropout draws from the global generator (``torch.manual_seed``).

    Arguments:
        train, test: a ``Split`` or map-style ``Dataset`` of ``(x, y)``, in batches of ``batch_size``, the last one may be
            smaller; or a ``DataLoader`` of such batches. Both training mode and evaluation mode are set for every module.
        epochs: of the whole run, those before a resumption included.
        scheduler: stepped at each epoch's end, ``ReduceLROnPlateau`` with the loss on ``test``.
        clip_norm: the length to which all updates of a step together are cut, those of error synapses included.
        checkpoint_every: in steps.
        progress: a bar on a terminal, a line an epoch elsewhere; or nothing.

    Raises:
        TrainingError: arguments that cannot be; a folder that holds a run already, or none to resume.
        NonFiniteLoss: loss, update norm or parameters are no longer finite; the last good state is kept in the folder.
        CheckpointError: the checkpoint cannot be written, or is damaged or another run's.
        InputError, LabelError, EdgeError: batches that the program cannot take.
    """
    request = Request(learner, optimizer, test is not None, epochs, batch_size, scheduler, clip_norm, folder, checkpoint_every)
    check(request)
    batches = batches_of(train, batch_size, seed, "train")
    tests = None if test is None else batches_of(test, batch_size, None, "test")
    file = None if folder is None else _file(folder, learner, optimizer, scheduler, batches, resume)
    if resume and file is None:
        raise TrainingError("A run cannot be resumed without the folder that keeps it. Pass folder=... as well.")
    run = _Run(request, batches, tests, file)
    training = learner.training
    try:
        with run.interruption, run.guarded():
            run.begin(resume)
            with display(progress, epochs, batches.count, run.place.total) as shown:
                run.train(shown)
    finally:
        run.close()
        learner.train(training)
    return History(tuple(run.history))


def _file(
    folder: Path, learner: Learner, optimizer: Optimizer, scheduler: LRScheduler | None, batches: Batches, resume: bool
) -> RunFile:
    path = folder / CHECKPOINT
    if resume and not path.exists():
        raise TrainingError(
            f"There is no run to resume in '{folder}': it has no {CHECKPOINT}. Check the path, or leave resume out."
        )
    if not resume and path.exists():
        raise TrainingError(
            f"There is a run in '{folder}' already, which a new one would overwrite. Go on with it by resume=True, "
            "or choose another folder."
        )
    folder.mkdir(parents=True, exist_ok=True)
    return RunFile(path, learner, optimizer, scheduler, batches)


class _Run:
    """A run under way: where it stands, and what moves it on."""

    def __init__(self, request: Request, batches: Batches, tests: Batches | None, file: RunFile | None) -> None:
        self.request, self.batches, self.tests, self.file = request, batches, tests, file
        self.learner, self.optimizer = request.learner, request.optimizer
        self.device = device_of(request.learner)
        self.interruption = Interruption()
        self.place = Place(batches.mark(), capture_rng())
        self.history: list[EpochMetrics] = []
        self.metrics: MetricsFile | None = None
        self.board: Board | None = None
        self._whole = True
        self._saved = ""

    # ------------------------------------------------------------------ in order

    def begin(self, resume: bool) -> None:
        """Restore the run, or write its first checkpoint, so that what no file can hold shows before the work is done."""
        self.learner.zero_grad()
        if self.file is None:
            return
        if resume:
            self.place, self.history = self.file.load()
            self._saved = self.place.words()
        else:
            self._save()
        folder = self.file.path.parent
        self.metrics = MetricsFile(folder / "metrics.csv", self.history)
        self.board = Board(folder / "tensorboard", self.place.epoch + 1)

    def train(self, shown: Display) -> None:
        """All epochs that are left."""
        every = self.request.checkpoint_every
        while self.place.epoch < self.request.epochs:
            self._steps(shown)
            row = self._end_epoch()
            if every is None or self.place.epoch == self.request.epochs:
                self._save()
            for file in (self.metrics, self.board):
                if file is not None:
                    file.append(row)
            shown.epoch(row)

    def _steps(self, shown: Display) -> None:
        """The batches that are left of this epoch."""
        self.learner.train()
        every = self.request.checkpoint_every
        since = time.perf_counter()
        for x, y in self._drawn():
            self._step(x, y)
            now = time.perf_counter()
            self.place.seconds += now - since
            shown.step(self.place.epoch + 1, self.place.sums)
            if every is not None and self.place.total % every == 0:
                self._save()
                now = time.perf_counter()
            since = now
        if not self.place.sums.samples:
            raise TrainingError(f"Epoch {self.place.epoch + 1} has not one batch. Give a loader that starts anew every epoch.")

    def _drawn(self) -> Iterator[tuple[Any, Any]]:
        batches = self.batches.draw(self.place.epoch, self.place.step)
        if self.place.step:  # skipping has drawn; a fresh epoch's generators are where the mark or the epoch before left them
            restore_rng(self.place.rng)
        for batch in batches:
            yield moved(pair(batch, "train"), self.device)

    def _step(self, x: Any, y: Any) -> None:
        with self.interruption.held():
            learned = self.learner.learn(x, y)
            self._whole = False
            self._clip()
            self.optimizer.step()
            self.learner.zero_grad()
            self._count(learned, y)
            self._whole = True

    def _clip(self) -> None:
        if self.request.clip_norm is None:
            return
        learned = [parameter for parameter in self.learner.parameters() if parameter.grad is not None]
        norm = get_total_norm([parameter.grad for parameter in learned if parameter.grad is not None])
        if not torch.isfinite(norm):
            raise NonFiniteLoss(f"The norm of the updates is {norm.item()}, though the loss is finite. Lower the learning rate.")
        clip_grads_with_norm_(learned, self.request.clip_norm, norm)

    def _count(self, learned: Learned, y: Any) -> None:
        place = self.place
        place.sums.add(self.learner.program.source.loss, learned.loss, learned.output, y, learned.discrepancy)
        place.step += 1
        place.total += 1
        if self.file is not None:
            place.rng = capture_rng()

    def _end_epoch(self) -> EpochMetrics:
        """Validate, step the scheduler, and stand at the next epoch's beginning."""
        tests = None if self.tests is None else evaluate(self.learner, self.tests)
        scheduler, place = self.request.scheduler, self.place
        with self.interruption.held():
            self._whole = False
            row = EpochMetrics(
                epoch=place.epoch + 1,
                step=place.total,
                train_loss=place.sums.loss / place.sums.samples,
                train_accuracy=place.sums.accuracy,
                discrepancy=place.sums.discrepancy / place.sums.samples,
                test_loss=None if tests is None else tests.mean_loss,
                test_accuracy=None if tests is None else tests.accuracy,
                learning_rate=float(self.optimizer.param_groups[0]["lr"]),
                seconds=place.seconds,
                samples_per_second=place.sums.samples / place.seconds,
            )
            if isinstance(scheduler, ReduceLROnPlateau):
                scheduler.step(row.test_loss if row.test_loss is not None else row.train_loss)
            elif scheduler is not None:
                scheduler.step()
            self.history.append(row)
            self.place = Place(self.batches.mark(), capture_rng(), epoch=place.epoch + 1, total=place.total)
            self._whole = True
        return row

    # ------------------------------------------------------------------ what is kept

    def _save(self) -> None:
        if self.file is None:
            return
        broken = self._broken()
        if broken is not None:
            raise NonFiniteLoss(f"Parameter {broken!r} is not finite any more, though the losses were. Lower the learning rate.")
        self.file.save(self.place, self.history)
        self._saved = self.place.words()

    def _broken(self) -> str | None:
        """A parameter that is not finite."""
        named = self.learner.named_parameters()
        return next((name for name, parameter in named if not torch.isfinite(parameter).all()), None)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Keep the last good state when the run diverges or is interrupted, and say where."""
        try:
            yield
        except NonFiniteLoss as error:
            where = f"Epoch {self.place.epoch + 1}, step {self.place.step + 1}"
            raise NonFiniteLoss(f"{where}: {error} {self._keep()}") from error
        except KeyboardInterrupt as error:
            error.add_note(f"Interrupted in epoch {self.place.epoch + 1}. {self._keep()}")
            raise

    def _keep(self) -> str:
        """Save the state if it is whole and finite; in words, what there is to go on from."""
        whole = self._whole and not self.interruption.torn and self._broken() is None
        if self.file is None:
            state = "The learner is as it was before this step" if whole else "The learner is no longer good"
            return f"{state}; no checkpoint was asked for (folder=...)."
        if whole:
            self._save()
        if not self._saved:
            return "There is no good state yet."
        return f"The last good state ({self._saved}) lies in '{self.file.path}'; go on from it with resume=True."

    def close(self) -> None:
        """End the files."""
        if self.board is not None:
            self.board.close()
