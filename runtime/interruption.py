"""Ctrl-C, held back while a step is half done."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self


class Interruption:
    """While entered, SIGINT waits for the end of ``held`` sections; elsewhere the earlier handler decides, as before.

    A second one in the same section is handed on at once; ``torn`` then says that the section was left half done.
    Outside the main thread, or where SIGINT is not handled by Python, nothing changes.
    """

    def __init__(self) -> None:
        self.torn = False
        self._holding = False
        self._waiting = False
        self._before: Callable[[int, FrameType | None], Any] | None = None

    def __enter__(self) -> Self:
        before = signal.getsignal(signal.SIGINT)
        if callable(before) and threading.current_thread() is threading.main_thread():
            self._before = before
            signal.signal(signal.SIGINT, self._arrive)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    @contextmanager
    def held(self) -> Iterator[None]:
        """A section that is run to its end."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
        if self._waiting:
            self._waiting = False
            self._hand_on(None)

    def _arrive(self, number: int, frame: FrameType | None) -> None:
        if self._holding and not self._waiting:
            self._waiting = True
            return
        self.torn = self._holding
        self._hand_on(frame)

    def _hand_on(self, frame: FrameType | None) -> None:
        if self._before is not None:
            self._before(signal.SIGINT, frame)
