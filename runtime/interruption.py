"""Ctrl-C and SIGTERM, held back while a step is half done."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

Handler = Callable[[int, FrameType | None], Any]


class Terminated(SystemExit):
    """SIGTERM has come: the process ends by this exception with code 143, once it has put its work away."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


def terminate(number: int, frame: FrameType | None) -> None:
    """Handle SIGTERM: end the process by an exception; a second one ends it at once.

    Raises:
        Terminated: always.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise Terminated


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM raise Terminated where it would end the process, in the main thread; where others handle it nothing changes."""
    if not _in_main_thread() or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Interruption:
    """While entered, SIGINT and SIGTERM wait for the end of ``held`` sections; elsewhere the earlier handlers decide, as before.

    SIGTERM without an earlier handler raises Terminated, and says on standard error what it notes. A second signal of a kind
    in the same section is handed on at once; ``torn`` then says that the section was left half done.
    Outside the main thread, or where a signal is ignored or not handled by Python, nothing changes.
    """

    def __init__(self) -> None:
        self.torn = False
        self._holding = False
        self._waiting: list[int] = []
        self._unheard = False  # whether SIGTERM was handed on and the run still goes on
        self._before: dict[int, Handler] = {}
        self._alone = False  # whether nobody but us handles SIGTERM

    def __enter__(self) -> Self:
        if _in_main_thread():
            self._alone = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
            for number in (signal.SIGINT, signal.SIGTERM):
                before = terminate if number == signal.SIGTERM and self._alone else signal.getsignal(number)
                if callable(before):
                    self._before[number] = before
                    signal.signal(number, self._arrive)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, before in self._before.items():
            if before is not terminate:
                signal.signal(number, before)
            elif self._alone or isinstance(error, Terminated):  # from now on the next one ends the process at once
                signal.signal(number, signal.SIG_DFL)
            else:
                signal.signal(number, terminate)
        if self._alone and isinstance(error, Terminated):
            print(*getattr(error, "__notes__", ("Terminated.",)), file=sys.stderr, flush=True)

    @contextmanager
    def held(self) -> Iterator[None]:
        """A section that is run to its end."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
        if self._waiting or self._unheard:  # what a destructor or callback of C swallows is raised again here
            number = self._waiting.pop() if self._waiting else signal.SIGTERM
            self._hand_on(number, None)

    def _arrive(self, number: int, frame: FrameType | None) -> None:
        if self._holding and number not in self._waiting:
            self._waiting.append(number)
            if self._before[number] is terminate:
                signal.signal(number, signal.SIG_DFL)
            return
        self.torn = self._holding
        self._hand_on(number, frame)

    def _hand_on(self, number: int, frame: FrameType | None) -> None:
        self._unheard = self._before[number] is terminate
        self._before[number](number, frame)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
