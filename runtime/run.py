"""A training run under way: its steps, its epochs, and what is kept of it when it stops."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim.lr_scheduler import ReduceLROnPlateau

from compiler.signal import sums
from runtime.batches import Batches, pair
from runtime.distributed.digests import check_plans, check_states
from runtime.distributed.errors import PeerLost
from runtime.distributed.loss import noticing
from runtime.distributed.peers import peers_of
from runtime.distributed.seeds import seed_process
from runtime.distributed.signals import Agreement
from runtime.errors import NonFiniteLoss, TrainingError
from runtime.interruption import Interruption, Terminated
from runtime.learner import Learned
from runtime.measures import Sums, device_of, evaluate, moved
from runtime.metrics import Board, EpochMetrics, History, MetricsFile
from runtime.place import Place, RunFile
from runtime.progress import Display
from runtime.request import Request
from runtime.rng import capture_rng, restore_rng
from runtime.tree import Tree


class Run:
    """Where a run stands, and what moves it on; ``file`` and ``tests`` where there are any.

    Each of several processes has its own, and all do the same in the same order, each with its share of every batch. The
    first one alone writes metrics.
    """

    def __init__(self, request: Request, batches: Batches, tests: Batches | None, file: RunFile | None) -> None:
        self.request, self.batches, self.tests, self.file = request, batches, tests, file
        self.learner, self.optimizer = request.learner, request.optimizer
        self.device = device_of(request.learner)
        self.parameters = list(request.learner.parameters())
        self.peers = peers_of(request.learner.program.source.world)
        self.interruption = Agreement(self.peers) if self.peers.several else Interruption()
        if self.peers.several:
            seed_process(request.seed, self.peers.rank)
        self.place = Place(batches.mark(), capture_rng())
        self.history = History()
        self.metrics: MetricsFile | None = None
        self.board: Board | None = None
        self._whole = False  # whether learner, optimiser and place belong together: a state to go on from
        self._saved = ""

    # ------------------------------------------------------------------ in order

    def begin(self) -> None:
        """Restore the run, or write its first checkpoint: what no file can hold shall show before the work is done."""
        self.learner.zero_grad()
        check_plans(self.peers, self.learner.program, self.batches.count)
        if self.file is not None and self.request.resume:
            self._saved = "that to resume"
            self.place, self.history = self.file.load()
            self._saved = self.place.words()
        elif self.request.measure_start:
            self.history = self.history.noted(0, self._measured(0))
        check_states(self.peers, self.learner, self.optimizer)
        self._whole = True
        if self.file is not None:
            if not self.request.resume:
                self._save()
            if self.peers.first:
                folder = self.file.path.parent
                self.metrics = MetricsFile(folder / "metrics.csv", self.history.epochs)
                self.board = Board(folder / "tensorboard", self.history.epochs)

    def train(self, shown: Display) -> None:
        """All epochs that are left."""
        while self.place.epoch < self.request.epochs:
            self._steps(shown)
            tested = None if self.tests is None else evaluate(self.learner, self.tests, self.peers)
            row = self._end_epoch(tested, self._measured(self.place.epoch + 1))
            if self.request.checkpoint_every is None or self.place.epoch == self.request.epochs:
                self._save()
            for file in (self.metrics, self.board):
                if file is not None:
                    file.append(row)
            shown.epoch(row)

    def close(self) -> None:
        """End the files."""
        if self.board is not None:
            self.board.close()

    # ------------------------------------------------------------------ an epoch

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
        if not self.place.step:
            raise TrainingError(f"Epoch {self.place.epoch + 1} has not one batch. Give a loader that starts anew every epoch.")

    def _drawn(self) -> Iterator[tuple[Any, Any]]:
        batches = self.batches.draw(self.place.epoch, self.place.step)
        if self.place.step:  # drawing has brought the generators to the epoch's beginning, a place further back
            restore_rng(self.place.rng)
        for batch in batches:
            yield moved(pair(batch, "train"), self.device)

    def _step(self, x: Any, y: Any) -> None:
        with self.interruption.held():
            try:
                learned = self._learn(x, y)
                self._whole = False
                self._clip()
            except NonFiniteLoss as error:
                where = f"Epoch {self.place.epoch + 1}, step {self.place.step + 1}"
                raise NonFiniteLoss(f"{where}: {error.reason}", error.advice) from error
            self.optimizer.step()
            for parameter in self.parameters:
                parameter.grad = None
            self._count(learned, y)
            self._whole = True

    def _learn(self, x: Any, y: Any) -> Learned:
        if not self.peers.several:
            return self.learner.learn(x, y)
        return self.learner.learn(x, y, samples=self.batches.samples(self.place.step))

    def _clip(self) -> None:
        if self.request.clip_norm is None:
            return
        updates = [parameter.grad for parameter in self.learner.parameters() if parameter.grad is not None]
        norm = get_total_norm(updates)
        if not torch.isfinite(norm):
            raise NonFiniteLoss(f"The norm of the updates is {norm.item()}, though the loss is finite.", "No update was made.")
        clip_grads_with_norm_(self.learner.parameters(), self.request.clip_norm, norm)

    def _count(self, learned: Learned, y: Any) -> None:
        place, source = self.place, self.learner.program.source.loss
        here = self.peers.first or not sums(source)  # loss and discrepancy are the whole batch's, and a sum counts once
        samples = self.batches.samples(place.step)
        place.sums.add(source, learned.loss if here else 0 * learned.loss, learned.output, y, learned.discrepancy, samples)
        place.step += 1
        place.total += 1
        if self.file is not None:  # the next batch may draw before a Ctrl-C asks for this place
            place.rng = self._behind_step(place.rng)

    def _behind_step(self, before: Any) -> Tree:
        """The generators' states; of those that nothing has drawn from since ``before`` the old ones, for copies take time."""
        if self.request.still and self.device.type == "cpu":
            return {**before, "torch": torch.get_rng_state()}
        return capture_rng()

    def _measured(self, epoch: int) -> Mapping[str, float]:
        """What the caller measures; the generators are put back, so that a run is the same with it and without."""
        if self.request.measure is None:
            return {}
        states = capture_rng()
        self.learner.train()
        found = self.request.measure(self.learner, epoch)
        restore_rng(states)
        return found

    def _end_epoch(self, tested: Sums | None, measured: Mapping[str, float]) -> EpochMetrics:
        """Step the scheduler, and stand at the next epoch's beginning."""
        with self.interruption.held():
            self._whole = False
            row = self._row(self.place.sums.over(self.peers), tested)
            if isinstance(self.request.scheduler, ReduceLROnPlateau):
                assert row.test_loss is not None  # `check` saw to it
                self.request.scheduler.step(row.test_loss)
            elif self.request.scheduler is not None:
                self.request.scheduler.step()
            self.history = self.history.and_then(row, measured)
            self.place = Place(self.batches.mark(), capture_rng(), epoch=row.epoch, total=row.step)
            self._whole = True
        return row

    def _row(self, trained: Sums, tested: Sums | None) -> EpochMetrics:
        place = self.place
        return EpochMetrics(
            epoch=place.epoch + 1,
            step=place.total,
            train_loss=trained.mean_loss,
            train_accuracy=trained.accuracy,
            discrepancy=trained.mean_discrepancy,
            test_loss=None if tested is None else tested.mean_loss,
            test_accuracy=None if tested is None else tested.accuracy,
            learning_rate=float(self.optimizer.param_groups[0]["lr"]),
            seconds=place.seconds,
            samples_per_second=trained.samples / place.seconds,
        )

    # ------------------------------------------------------------------ what is kept

    def _save(self) -> None:
        if self.file is None:
            return
        broken = self._broken()
        if broken is not None:
            raise NonFiniteLoss(f"Parameter {broken!r} is not finite at {self.place.words()}, though every loss was.")
        check_states(self.peers, self.learner, self.optimizer)
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
            with noticing(self.peers):
                yield
        except PeerLost as error:
            way = "To go on, resume it (torchrun --max-restarts does so by itself)." if self._saved else "Start it again."
            raise PeerLost(f"{error} {self._left()} {way}") from error
        except NonFiniteLoss as error:
            way = "To go on, resume it with clip_norm=..., or start in another folder with a lower learning rate."
            raise NonFiniteLoss(error.reason, f"{error.advice} {self._keep()} {way}".lstrip()) from error
        except (KeyboardInterrupt, Terminated) as error:
            what = "Terminated" if isinstance(error, Terminated) else "Interrupted"
            error.add_note(f"{what} at {self.place.words()}. {self._keep()} To go on, pass resume=True.")
            raise

    def _keep(self) -> str:
        """Save the state if it is whole and finite; in words, what there is to go on from."""
        if self._whole and not self.interruption.torn and self._broken() is None:
            self._save()
        return self._left()

    def _left(self) -> str:
        """In words, what there is to go on from without another save."""
        if self.file is None:
            return "No state is kept, since no folder was given."
        return f"The last good state, {self._saved}, lies in '{self.file.path}'." if self._saved else "There is no good state yet."
