"""What a study is: the rows of a paper's table, each with everything that its network is trained by."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from runtime.errors import TrainingError
from wiring import Wiring
from wiring.match import fits_any

Metric = Literal["train_error", "test_error", "train_loss", "test_loss"]
"""Behind the last epoch and in evaluation mode. Errors are in percent, losses means over samples (and outputs, if the loss is)."""

WORDS: dict[Metric, str] = {
    "train_error": "training error in %",
    "test_error": "test error in %",
    "train_loss": "training loss",
    "test_loss": "test loss",
}


@dataclass(frozen=True)
class Case:
    """A row of a table, in the texts of the command line.

    Arguments:
        name: what the row and its files are called.
        wiring: as ``--wiring`` takes it, or a record for what no text says, such as a mixture. ``model``: as ``--model`` takes it.
        data: one of ``runtime.reproduce.problems.PROBLEMS``.
        loss: one of ``runtime.losses.LOSSES``.
        init: the distribution of the forward weights, as ``runtime.models.initial`` reads it; without it the model's own.
        optimizer, error_optimizer: as ``runtime.optimizers`` reads them; without the latter the former teaches error synapses too.
        schedule, error_schedule: likewise; none keeps the rate, and error synapses follow ``schedule`` without their own.
        batch_size, epochs: the paper's.
        published: the paper's figures.
        angles_every: measure angles behind the first epoch and every so many. ``measurement``: which, one of
            ``runtime.reproduce.measurements.MEASUREMENTS``.
        embedded: a site whose activity on test images is embedded in the plane before training and behind the last epoch.

    Raises:
        TrainingError: an ``error_schedule`` without an ``error_optimizer``.
    """

    name: str
    wiring: str | Wiring
    model: str
    data: str
    loss: str = "cross_entropy"
    init: str | None = None
    optimizer: str = "adam"
    error_optimizer: str | None = None
    schedule: str | None = None
    error_schedule: str | None = None
    batch_size: int = 50
    epochs: int = 100
    published: Mapping[Metric, float] = field(default_factory=dict)
    angles_every: int | None = None
    measurement: str = "backpropagation_angles"
    embedded: str | None = None

    def __post_init__(self) -> None:
        if self.error_schedule is not None and self.error_optimizer is None:
            raise TrainingError(
                f"Case {self.name!r} has an error_schedule and no error_optimizer, whose rate it would steer. Give both."
            )


@dataclass(frozen=True)
class Curves:
    """A picture: ``metric`` over the epochs, a line a case of a name that ``cases`` (a pattern) fits."""

    name: str
    title: str
    metric: Metric
    cases: str = "*"
    log: bool = False


@dataclass(frozen=True)
class Angles:
    """A picture: angles over the epochs, a line a case, axes side by side for what ``of`` (patterns, in order) fits.

    Those are sites by name, and updates of weights as ``update conv1.weight``; without ``of`` all sites. ``mean``: one pair of
    axes, for the mean over them. ``label``: what stands beside the axes.
    """

    name: str
    title: str
    cases: str = "*"
    of: str | None = None
    mean: bool = False
    label: str = "angle to backpropagation\n(0° is the same, 90° chance)"


@dataclass(frozen=True)
class Embedding:
    """A picture: the ``embedded`` site's activity on test images, by label: untrained, then as each case left it."""

    name: str
    title: str
    cases: str = "*"


Picture = Curves | Angles | Embedding


@dataclass(frozen=True)
class Study:
    """A table of a paper.

    Arguments:
        name: what the command line and the folders call it.
        title: the heading of its page. ``paper``: the source, with section or table.
        text: what is trained on what, and how; whatever the paper leaves open and how it is settled.
        metrics: the columns.

    Raises:
        TrainingError: two cases of one name.
    """

    name: str
    title: str
    paper: str
    text: str
    cases: tuple[Case, ...]
    metrics: tuple[Metric, ...] = ("train_error", "test_error")
    figures: tuple[Picture, ...] = ()

    def __post_init__(self) -> None:
        names = [case.name for case in self.cases]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise TrainingError(f"Study {self.name!r} has two cases called {twice!r}. Give each a name of its own.")

    def fitting(self, pattern: str) -> tuple[Case, ...]:
        """The cases whose names ``pattern`` (``*`` any characters, ``?`` one; several with commas between) fits.

        Raises:
            TrainingError: none does.
        """
        found = tuple(case for case in self.cases if fits_any(case.name, pattern.split(",")))
        if not found:
            raise TrainingError(
                f"Study {self.name!r} has no case that fits {pattern!r}. Its cases: {', '.join(case.name for case in self.cases)}."
            )
        return found
