"""Run cases of a study: train, measure, write the result; go on where it was stopped, and leave alone what has ended."""

import json
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from compiler import compile
from runtime.batches import batches_of
from runtime.claim import claimed
from runtime.errors import NonFiniteLoss, TrainingError
from runtime.files import write_whole
from runtime.jobs import versions
from runtime.learner import Learner
from runtime.losses import loss_named
from runtime.measures import evaluate
from runtime.metrics import History
from runtime.models import build_model
from runtime.models.initial import draw_weights
from runtime.optimizers import build_optimizer, build_schedule
from runtime.place import difference, history_of, read_run
from runtime.reproduce.embedding import embedding
from runtime.reproduce.measurements import measure_named
from runtime.reproduce.problems import Problem, problem_named
from runtime.reproduce.results import Result, error_percent, history_columns, load, measured_columns, rounded
from runtime.reproduce.study import Case, Metric, Study
from runtime.rng import seed_rng
from runtime.training import CHECKPOINT, fit
from wiring import Wiring, parse_wiring

CHECKPOINT_EVERY = 2000  # steps: seconds of work on the smallest networks, minutes on those with convolutions
EVALUATED = 1000  # samples at once
# A case's fields that do not decide what a step does.
LOOKED_AT = ("name", "epochs", "published", "angles_every", "measurement", "embedded")
DEFAULTS = {each.name: each.default for each in fields(Case) if each.name not in LOOKED_AT and each.default is not MISSING}


@dataclass(frozen=True)
class Order:
    """How cases are run, whichever they are.

    Arguments:
        results: the folder of the JSON files, one a case and seed. ``runs``: the folder of checkpoints and metrics.
        command: the command line, for the record.
        epochs: in place of the paper's. ``limit``: on training samples. ``data_folder``: of images.
    """

    results: Path
    runs: Path
    command: str
    epochs: int | None = None
    limit: int | None = None
    data_folder: Path | None = None


@dataclass(frozen=True)
class Run:
    """A case of a study with one seed, as ordered."""

    study: Study
    case: Case
    seed: int
    order: Order

    @property
    def name(self) -> str:
        return f"{self.case.name}-seed{self.seed}"

    @property
    def path(self) -> Path:
        """Of its result."""
        return self.order.results / f"{self.name}.json"

    @property
    def folder(self) -> Path:
        """Of its checkpoint and metrics."""
        return self.order.runs / self.name

    @property
    def epochs(self) -> int:
        return self.order.epochs or self.case.epochs

    def ended(self) -> Result | None:
        """Its result, if it was run to the epoch that is asked for now, or diverged.

        Raises:
            TrainingError: a result of another recipe or limit lies in its place.
        """
        if not self.path.exists():
            return None
        result = load(self.path)
        self._check({"recipe": result.recipe, "limit": result.limit}, self.path)
        return result if result.outcome == "diverged" or result.epochs["done"] >= self.epochs else None

    def work(self) -> Result:
        """Train to the last epoch, from the checkpoint if there is one, and write the result.

        Raises:
            ErrorwireError: one of its kinds, for whatever does not fit or go well, but not for a loss that diverges.
        """
        problem = problem_named(self.case.data, self.order.data_folder).limited(self.order.limit)
        with claimed(self.folder):
            return self._worked(problem)

    def _worked(self, problem: Problem) -> Result:
        resume = self._begun()
        learner = learner_of(self.case, problem, self.seed)
        start = self._embedded(learner, problem, "untrained")
        try:
            history, final = self._fit(learner, problem, resume), final_metrics(learner, problem)
            plane = {**start, **self._embedded(learner, problem, "trained")}
            result = replace(self._result(history, final), embedding=plane)
        except NonFiniteLoss as divergence:
            tree: Any = read_run(self.folder / CHECKPOINT)
            result = self._result(history_of(tree), {}, divergence.reason)
        result.save(self.path)
        return result

    def _embedded(self, learner: Learner, problem: Problem, when: str) -> dict[str, list[float]]:
        return {} if self.case.embedded is None else embedding(learner, problem, self.case.embedded, when)

    def _begun(self) -> bool:
        """Whether there is a run to go on with; notes what it is, so that no other is taken for it."""
        recipe, here = self.folder / "recipe.json", {"recipe": recipe_of(self.case), "limit": self.order.limit}
        if not (self.folder / CHECKPOINT).exists():
            write_whole(recipe, json.dumps(here, indent=2) + "\n")
            return False
        try:
            there = json.loads(recipe.read_text(encoding="utf-8"))
        except (OSError, ValueError) as problem:
            raise TrainingError(
                f"File '{recipe}' does not say how the run was begun ({problem}). Delete '{self.folder}' to begin anew."
            ) from problem
        self._check(there, self.folder)
        return True

    def _check(self, there: dict[str, Any], where: Path) -> None:
        there["recipe"] = DEFAULTS | there["recipe"]  # older runs know fewer fields
        told = difference(there, {"recipe": DEFAULTS | recipe_of(self.case), "limit": self.order.limit})
        if told is not None:
            raise TrainingError(
                f"'{where}' belongs to another run of {self.case.name!r}: {told}. Delete it, or choose another --folder."
            )

    def _fit(self, learner: Learner, problem: Problem, resume: bool) -> History:
        case = self.case
        optimizer = build_optimizer(learner, case.optimizer, case.error_optimizer)
        return fit(
            learner,
            optimizer,
            problem.train,
            epochs=self.epochs,
            test=problem.test,
            batch_size=case.batch_size,
            seed=self.seed,
            scheduler=build_schedule(optimizer, case.schedule, case.error_schedule),
            measure=None if case.angles_every is None else measure_named(case.measurement, problem, case.angles_every),
            folder=self.folder,
            checkpoint_every=CHECKPOINT_EVERY,
            resume=resume,
        )

    def _result(self, history: History, final: dict[Metric, float], reason: str | None = None) -> Result:
        return Result(
            study=self.study.name,
            case=self.case.name,
            seed=self.seed,
            outcome="finished" if reason is None else "diverged",
            reason=reason,
            command=self.order.command,
            versions=versions(),
            threads=torch.get_num_threads(),
            recipe=recipe_of(self.case),
            epochs={"asked": self.epochs, "done": len(history.epochs), "paper": self.case.epochs},
            limit=self.order.limit,
            training_seconds=round(sum(epoch.seconds for epoch in history.epochs), 1),
            final=final,
            history=history_columns(history.epochs),
            measured=measured_columns(history.measured),
        )


def runs_of(study: Study, cases: tuple[Case, ...], seeds: tuple[int, ...], order: Order) -> Iterator[Run]:
    """The runs in order: every case with the first seed, then with the next."""
    return (Run(study, case, seed, order) for seed in seeds for case in cases)


def recipe_of(case: Case) -> dict[str, Any]:
    """What decides a run, as JSON values: all but the name, the length, and what is only looked at."""
    found = {name: value for name, value in vars(case).items() if name not in LOOKED_AT}
    return {**found, "wiring": json.loads(case.wiring.to_json())} if isinstance(case.wiring, Wiring) else found


def learner_of(case: Case, problem: Problem, seed: int) -> Learner:
    """The case's network and error synapses as ``seed`` draws them.

    Raises:
        OptionError, InvalidWiring, ModelError: a text that names nothing.
        CompileError: model and wiring do not go together.
    """
    wiring = case.wiring if isinstance(case.wiring, Wiring) else parse_wiring(case.wiring)
    seed_rng(seed)
    model = build_model(case.model, problem.input_shape, problem.outputs)
    if case.init is not None:
        draw_weights(model, case.init, torch.Generator().manual_seed(seed))
    return Learner(compile(model, wiring, problem.batch(case.batch_size), loss_named(case.loss)), seed=seed)


def final_metrics(learner: Learner, problem: Problem) -> dict[Metric, float]:
    """Losses and errors in percent over all samples, in evaluation mode."""
    train, test = (evaluate(learner, batches_of(part, EVALUATED, None, "data")) for part in (problem.train, problem.test))
    values: dict[Metric, float | None] = {
        "train_error": error_percent(train.accuracy),
        "test_error": error_percent(test.accuracy),
        "train_loss": train.mean_loss,
        "test_loss": test.mean_loss,
    }
    return {name: number for name, value in values.items() if (number := rounded(value)) is not None}
