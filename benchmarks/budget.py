"""The time that a benchmark may take, phase by phase."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from measure import told
from rich.console import Console


class OutOfTimeError(Exception):
    """The time for a phase is over."""


@dataclass
class Budget:
    """``deadline``: of ``perf_counter``. ``left_out``: what there was no time for."""

    deadline: float
    left_out: list[str] = field(default_factory=list)
    begin: float = field(default_factory=perf_counter)

    def left(self) -> float:
        """Seconds."""
        return self.deadline - perf_counter()

    def spent(self) -> float:
        """Seconds."""
        return perf_counter() - self.begin

    @contextmanager
    def phase(self, name: str, failures: dict[str, str], console: Console) -> Iterator[bool]:
        """Whether there is time for a phase; whatever it raises is noted, and half a minute behind the deadline it is broken off."""
        if self.left() <= 0:
            self.left_out.append(name)
            yield False
            return
        console.print(f"[{self.spent():.0f} s] {name}", highlight=False, markup=False)

        def ring(*_: Any) -> None:
            raise OutOfTimeError("broken off, half a minute behind the deadline")

        before = signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, self.left() + 30)
        try:
            yield True
        except OutOfTimeError:
            self.left_out.append(f"the rest of {name}")
        except Exception as problem:
            failures[name] = told(problem)
            console.print(f"  failed: {told(problem)}", markup=False)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
