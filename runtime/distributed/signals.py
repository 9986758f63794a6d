"""Ctrl-C and SIGTERM under several processes: what reaches one stops all of them behind the same step."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

import torch
import torch.distributed as dist

from runtime.distributed.peers import Peers
from runtime.interruption import Terminated

NUMBERS = (signal.SIGTERM, signal.SIGINT)


class Agreement:
    """While entered, signals are only noted, and handed on behind the first ``held`` section that begins when all know of them.

    A process that stopped by itself would leave the others waiting in the next step. Notes are exchanged while the section
    runs, so that they cost no time. Outside the main thread nothing is noted here, but what the others note is heeded.
    """

    torn = False  # no section is ever left half done

    def __init__(self, peers: Peers) -> None:
        self.peers = peers
        self._noted: set[int] = set()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in NUMBERS:
                self._before[number] = signal.getsignal(number)
                signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        unhandled = self._before.get(signal.SIGTERM) is signal.SIG_DFL
        if unhandled and isinstance(error, Terminated) and self.peers.first:
            print(*getattr(error, "__notes__", ("Terminated.",)), file=sys.stderr, flush=True)

    @contextmanager
    def held(self) -> Iterator[None]:
        """A section that all processes run to its end; signals that any of them had noted before it are handed on behind it."""
        own = torch.tensor([number in self._noted for number in NUMBERS], dtype=torch.uint8, device=self.peers.device())
        rows = [torch.empty_like(own) for _ in range(self.peers.size)]
        work = dist.all_gather(rows, own, group=self.peers.process_group(), async_op=True)
        yield
        work.wait()
        noted = torch.stack(rows).any(0).tolist()
        for number in (number for number, by_any in zip(NUMBERS, noted, strict=True) if by_any):
            self._hand_on(number)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._noted.add(number)

    def _hand_on(self, number: int) -> None:
        self._noted.discard(number)
        before = self._before.get(number, signal.SIG_DFL)
        if callable(before):
            before(number, None)
        elif number == signal.SIGTERM:
            raise Terminated
        else:
            raise KeyboardInterrupt
