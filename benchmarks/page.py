"""Size of the page that ``errorwire report`` writes, and how long Chromium takes to load and draw it from a disk.

    python benchmarks/page.py [--loads 7] [--json FILE]

Models, wirings and schedules are real; the numbers of 50 epochs are drawn at random, since only how many there are matters.
Needs Playwright for Python and a Chromium on the path.
"""

import argparse
import json
import random
import shutil
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from machine import facts
from playwright.sync_api import Page, sync_playwright

from runtime.metrics import EpochMetrics, History, Measured
from runtime.page.document import write_page
from runtime.page.rebuild import rebuild
from runtime.page.record import Shown
from runtime.watching import ANGLE, SYNAPSE, WEIGHT
from wiring import parse_wiring

EPOCHS = 50
CASES = {
    "mlp": ("mlp", ["dkp"]),
    "resnet20": ("resnet20", ["rec_lra"]),
    "resnet110": ("resnet110", ["rec_lra:depth=3"]),
    "comparison of 5 on resnet8": ("resnet8", ["bp", "dfa", "dkp", "rec_lra", "ekdaa"]),
}
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def written(model: str, wirings: Sequence[str], path: Path) -> int:
    """Write a page about a model's runs; how many sites it has."""
    draw = random.Random(0)
    runs, programs = [], {}
    for wiring in wirings:
        options = {"model": model, "wiring": wiring, "data": "cifar10", "epochs": EPOCHS}
        run = Shown(wiring, options=options, record=parse_wiring(wiring).to_json(), shape=(3, 32, 32), classes=10)
        program = programs[wiring] = rebuild(run)
        names = [ANGLE + site for site in program.plan.errors.sites] + [SYNAPSE + name for name in program.error_parameters]
        names += [WEIGHT + name for name, parameter in program.model.named_parameters() if parameter.dim() > 1]
        measured = tuple(Measured(epoch, {name: draw.uniform(0, 90) for name in names}) for epoch in range(EPOCHS + 1))
        rows = tuple(EpochMetrics(epoch, epoch, *(draw.random() for _ in range(8))) for epoch in range(1, EPOCHS + 1))
        runs.append(Shown(**{**vars(run), "history": History(rows, measured)}))
    write_page(path, runs, programs)
    return len(program.plan.errors.sites)


def seconds(tab: Page, path: Path) -> float:
    """From the start of loading to the end of the load event, behind which everything is drawn."""
    tab.goto(path.as_uri())
    found: float = tab.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    return found / 1e3


def measured(loads: int) -> list[dict[str, Any]]:
    """A record a page; times are medians."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            f"{folder}/profile", executable_path=shutil.which("chromium"), headless=True, args=ARGUMENTS
        )
        tab = context.new_page()
        for name, (model, wirings) in CASES.items():
            path = Path(folder) / "report.html"
            sites = written(model, wirings, path)
            times = sorted(seconds(tab, path) for _ in range(loads))
            size = path.stat().st_size
            median = statistics.median(times)
            rows.append(
                {
                    "page": name,
                    "sites": sites,
                    "kB": round(size / 1e3),
                    "load_ms": round(1e3 * median),
                    "slowest_ms": round(1e3 * times[-1]),
                }
            )
            print(rows[-1], flush=True)
        context.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loads", type=int, default=7, help="of each page")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    found = {"machine": facts(), "epochs": EPOCHS, "loads": chosen.loads, "pages": measured(chosen.loads)}
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
