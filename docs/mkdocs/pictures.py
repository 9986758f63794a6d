"""Draws the pages' pictures of wirings and of a schedule anew: python docs/mkdocs/pictures.py

The schedule's holds the day and the machine's own cost model; draw when what the pages say of it has changed.
"""

import sys
from pathlib import Path

import torch

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

from compiler import UpdateProgram, compile  # noqa: E402
from compiler.planning import task_seconds  # noqa: E402
from compiler.roofline import roofline  # noqa: E402
from compiler.simulation import simulate  # noqa: E402
from runtime.models import build_model  # noqa: E402
from runtime.timeline import draw_timeline  # noqa: E402
from wiring import rec_lra  # noqa: E402

FIGURES = ROOT / "docs" / "figures"


def program(model: str, shape: tuple[int, ...]) -> UpdateProgram:
    """rec-LRA on a model for a batch of 32 random images."""
    example = torch.randn(32, *shape), torch.arange(32) % 10
    return compile(build_model(model, shape, 10), rec_lra(), example)


def lanes(path: Path) -> None:
    """A step of rec-LRA on 1, 2 and 4 streams, by this machine's cost model."""
    step = program("resnet8", (3, 32, 32))
    cost, tasks = roofline("cpu", 1), step.lowered.tasks
    seconds = task_seconds(step.lowered, cost)
    names = {1: "1 stream", 2: "2 streams", 4: "4 streams"}
    groups = {name: simulate(tasks, step.schedule(streams), seconds, cost.wait) for streams, name in names.items()}
    draw_timeline(groups, "rec_lra on resnet8, batch 32 of 3x32x32, by the cost model").savefig(path)


def main() -> None:
    program("resnet8", (1, 8, 8)).draw(FIGURES / "wiring-rec_lra.svg")
    program("examples.own_resnet:preact_se", (1, 8, 8)).draw(FIGURES / "wiring-own_resnet.svg")
    lanes(FIGURES / "schedule-rec_lra.svg")


if __name__ == "__main__":
    main()
