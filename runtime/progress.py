"""What a terminal shows while a run lasts."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from runtime.measures import Sums
from runtime.metrics import EpochMetrics


class Display(ABC):
    """Shows a run of ``epochs``."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @abstractmethod
    def step(self, epoch: int, sums: Sums) -> None:
        """A step of ``epoch`` (from 1) is done; ``sums`` are the epoch's so far."""

    @abstractmethod
    def epoch(self, row: EpochMetrics) -> None:
        """An epoch is done."""

    @abstractmethod
    def close(self) -> None:
        """The run ends."""


class Silent(Display):
    """Shows nothing."""

    def step(self, epoch: int, sums: Sums) -> None:
        pass

    def epoch(self, row: EpochMetrics) -> None:
        pass

    def close(self) -> None:
        pass


class Lines(Silent):
    """A line an epoch: for files and pipes, which cannot take a line back."""

    def epoch(self, row: EpochMetrics) -> None:
        print(row.line(self.epochs), flush=True)


class Bar(Display):
    """A bar over all steps of the run, with the time left, below a line an epoch."""

    def __init__(self, console: Console, epochs: int, steps: int | None, done: int) -> None:
        super().__init__(epochs)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, TextColumn("{task.fields[shown]}"), console=console, transient=True)
        self._task = self._progress.add_task("", total=steps, completed=done, shown="")
        self._progress.start()

    def step(self, epoch: int, sums: Sums) -> None:
        accuracy = "" if sums.accuracy is None else f" accuracy {sums.accuracy:.2%}"
        shown = f"loss {sums.mean_loss:.4f}{accuracy}"
        self._progress.update(self._task, advance=1, description=f"epoch {epoch}/{self.epochs}", shown=shown)

    def epoch(self, row: EpochMetrics) -> None:
        self._progress.console.print(row.line(self.epochs), highlight=False, soft_wrap=True)

    def close(self) -> None:
        self._progress.stop()


def display(progress: bool, epochs: int, batches: int | None, done: int) -> Display:
    """The display for where the output goes: a bar on a terminal or in a notebook, lines elsewhere.

    Arguments:
        progress: whether to show anything. ``batches``: in an epoch, if known. ``done``: steps before this run.
    """
    if not progress:
        return Silent(epochs)
    console = Console()
    if not (console.is_terminal or console.is_jupyter):
        return Lines(epochs)
    return Bar(console, epochs, batches and batches * epochs, done)
