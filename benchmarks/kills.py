"""Training runs that are killed again and again, and resumed: whether their last state is, to the bit, that of a run that nothing stopped.

    python benchmarks/kills.py [--moments 200] [--operations 60] [--terminations 40] [--commands 4] [--seed 0] [--json FILE]

``moments``: SIGKILL at random times, four in five in a run forked behind the compilation, the others in one that compiles.
``operations``: the run dies at one of its own file operations, a half-written file included. ``terminations``: SIGTERM at random
times, which must end in code 143. ``commands``: SIGKILL at random times of ``python -m runtime train``. A run is killed at least
once, and behind each kill with one chance in two again.
"""

import argparse
import csv
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kills_victim import COMMAND, EPOCHS, Marks, Warm, fork
from machine import facts
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from runtime.checkpoint import load_tree

AGAIN = 0.5
UNTOLD = ("seconds", "samples_per_second", "python", "numpy")
TERMINATED = 128 + signal.SIGTERM


def state(folder: Path) -> dict[str, Any]:
    """Everything that a run has come to, but for times: the checkpoint's leaves by place, and the rows of ``metrics.csv``."""
    with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
        rows = [{key: value for key, value in row.items() if "second" not in key} for row in csv.DictReader(file)]
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    shown = [event.step for event in events.Scalars("train_loss")]
    stray = sorted(path.name for path in folder.iterdir() if path.name.startswith(".errorwire"))
    json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return {"rows": rows, "shown": shown, "stray": stray, **leaves(load_tree(folder / "checkpoint.safetensors", "run"))}


def leaves(tree: Any, at: str = "") -> dict[str, Any]:
    """A tree's leaves by place, tensors as their bytes; without Python's and numpy's generators, which nobody seeds or asks."""
    if isinstance(tree, dict | list | tuple):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return {name: leaf for key, value in items if key not in UNTOLD for name, leaf in leaves(value, f"{at}.{key}").items()}
    return {at: (tree.dtype, tree.numpy().tobytes()) if isinstance(tree, Tensor) else repr(tree)}


@dataclass
class Kind:
    """One way to stop runs: how often, where, and what came of it."""

    signals: int = 0
    survived: int = 0
    runs: int = 0
    where: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)

    def take(self, hits: list[str], difference: str | None) -> None:
        self.runs += 1
        self.signals += len(hits)
        self.where.update(hits)
        if difference is None:
            self.survived += len(hits)
        else:
            self.lost.append(difference)


Stop = Callable[[Path], str | None]
"""Run the run in a folder and stop it; where it was, or ``None`` if it came to its end before."""


@dataclass
class Trials:
    """Runs in folders below ``root``, each compared with the run ``straight``."""

    root: Path
    draw: random.Random
    straight: dict[str, Any]
    number: int = 0

    def run(self, kind: Kind, count: int, stop: Stop, finish: Callable[[Path], None]) -> Kind:
        """Stop runs until ``count`` have been stopped."""
        while kind.signals < count:
            self.number += 1
            folder, hits = self.root / f"run{self.number}", []
            while not hits or self.draw.random() < AGAIN:
                hit = stop(folder)
                if hit is None:
                    break
                hits.append(hit)
            finish(folder)
            found = state(folder)
            wrong = [name for name in {**self.straight, **found} if self.straight.get(name) != found.get(name)]
            kind.take(hits, f"{folder.name} after {', '.join(hits)}: {', '.join(wrong[:4])}" if wrong else None)
            shutil.rmtree(folder)
        return kind


@dataclass
class Forked:
    """Runs forked from this process."""

    warm: Warm
    marks: Marks
    draw: random.Random

    def finish(self, folder: Path) -> None:
        self._ended(os.waitpid(fork(folder, self.marks, self.warm), 0)[1], folder)

    def moment(self, seconds: float, number: int, compiling: bool) -> Stop:
        """A signal at a random moment of what takes ``seconds``."""

        def stop(folder: Path) -> str | None:
            child = fork(folder, self.marks, None if compiling else self.warm)
            time.sleep(self.draw.random() * seconds)
            os.kill(child, number)
            _, status = os.waitpid(child, 0)
            return self._hit(status, number, folder)

        return stop

    def operation(self, count: int) -> Stop:
        """The end at a random one of ``count`` file operations."""

        def stop(folder: Path) -> str | None:
            child = fork(folder, self.marks, self.warm, self.draw.randrange(1, count + 1))
            _, status = os.waitpid(child, 0)
            return f"{self.marks.operation} in {self.marks.phase}" if os.WIFSIGNALED(status) else self._ended(status, folder)

        return stop

    def timed(self, folder: Path, compiling: bool) -> float:
        """How long a run takes, in seconds."""
        since = time.perf_counter()
        self._ended(os.waitpid(fork(folder, self.marks, None if compiling else self.warm), 0)[1], folder)
        return time.perf_counter() - since

    def _hit(self, status: int, number: int, folder: Path) -> str | None:
        ended = os.WIFSIGNALED(status) and os.WTERMSIG(status) == number
        if ended or (number == signal.SIGTERM and os.WIFEXITED(status) and os.WEXITSTATUS(status) == TERMINATED):
            return self.marks.phase
        return self._ended(status, folder)

    def _ended(self, status: int, folder: Path) -> None:
        if status:
            raise SystemExit(f"A run ended with {status}: {folder.with_suffix('.log').read_text()}")


@dataclass
class Commands:
    """Runs of the command in processes of its own."""

    draw: random.Random
    seconds: float = 60.0

    def finish(self, folder: Path) -> None:
        subprocess.run(self._line(folder), check=True, stdout=subprocess.DEVNULL)

    def stop(self, folder: Path) -> str | None:
        child = subprocess.Popen(self._line(folder), stdout=subprocess.DEVNULL)
        time.sleep(self.draw.random() * self.seconds)
        child.kill()
        return None if child.wait() == 0 else "with a checkpoint" if (folder / "checkpoint.safetensors").exists() else "without"

    def timed(self, folder: Path) -> float:
        since = time.perf_counter()
        self.finish(folder)
        return time.perf_counter() - since

    def _line(self, folder: Path) -> list[str]:
        resume = ["--resume"] if (folder / "checkpoint.safetensors").exists() else []
        return [sys.executable, "-m", "runtime", *COMMAND, "--no-watch", "--folder", str(folder), *resume]


def measured(arguments: argparse.Namespace, root: Path) -> dict[str, Kind]:
    """All kinds of stops."""
    draw = random.Random(arguments.seed)
    forked = Forked(Warm.up(), Marks(), draw)
    forked.timed(root / "straight", False)
    straight = state(root / "straight")  # imports before children are forked, too
    assert straight["shown"] == list(range(1, EPOCHS + 1))
    operations = forked.marks.get()[1]
    warm_seconds, cold_seconds = forked.timed(root / "warm", False), forked.timed(root / "cold", True)
    trials = Trials(root, draw, straight)
    print(f"a run: {warm_seconds:.2f} s, {cold_seconds:.2f} s with its compilation, {operations} file operations", flush=True)
    kinds: dict[str, Kind] = {}

    def take(name: str, count: int, stop: Stop, finish: Callable[[Path], None] = forked.finish) -> None:
        since = time.perf_counter()
        kinds[name] = trials.run(Kind(), count, stop, finish)
        print(f"{name}: {kinds[name].signals}, survived {kinds[name].survived}, {time.perf_counter() - since:.0f} s", flush=True)

    take("moments", arguments.moments * 4 // 5, forked.moment(warm_seconds, signal.SIGKILL, False))
    take("moments, compiling", arguments.moments - arguments.moments * 4 // 5, forked.moment(cold_seconds, signal.SIGKILL, True))
    take("file operations", arguments.operations, forked.operation(operations))
    take("SIGTERM", arguments.terminations, forked.moment(warm_seconds, signal.SIGTERM, False))
    if arguments.commands:
        commands = Commands(draw)
        commands.seconds = commands.timed(root / "command")
        take("command line", arguments.commands, commands.stop, commands.finish)
    return kinds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("moments", 200), ("operations", 60), ("terminations", 40), ("commands", 4), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--json", type=Path)
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    arguments = parser.parse_args()
    since = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="errorwire-kills-") as root:
        kinds = measured(arguments, Path(root))
    killed = [kind for name, kind in kinds.items() if name != "SIGTERM"]
    lost = [text for kind in kinds.values() for text in kind.lost]
    tree = {
        "kills": sum(kind.signals for kind in killed),
        "survived": sum(kind.survived for kind in killed),
        "terminations": kinds["SIGTERM"].signals,
        "terminations_survived": kinds["SIGTERM"].survived,
        "kinds": {name: {"signals": kind.signals, "survived": kind.survived, "runs": kind.runs} for name, kind in kinds.items()},
        "where": {
            place: {name: kind.where[place] for name, kind in kinds.items() if place in kind.where}
            for place in dict.fromkeys(place for kind in kinds.values() for place, _ in kind.where.most_common())
        },
        "lost": lost,
        "run": " ".join(COMMAND),
        "seconds": round(time.perf_counter() - since, 1),
        "machine": facts(),
    }
    print(json.dumps(tree, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(tree, indent=2) + "\n", encoding="utf-8")
    if lost:
        sys.exit(1)


if __name__ == "__main__":
    main()
