"""What the command says on its two streams, and how it ends."""

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

import typer
from rich.console import Console

from wiring.errors import ErrorwireError

WIDTH = 132  # where nobody sees a terminal's width
FAILED, REFUSED, INTERRUPTED = 1, 2, 130


def output() -> Console:
    """Standard output, as wide as the terminal."""
    return _console(sys.stdout)


def complaints() -> Console:
    """Standard error."""
    return _console(sys.stderr)


def _console(stream: TextIO) -> Console:
    console = Console(file=stream, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = WIDTH
    return console


def complain(label: str, text: str, colour: str) -> None:
    """One line on standard error, as long as it is."""
    console = complaints()
    console.print(f"[bold {colour}]{label}:[/]", end=" ")
    console.print(text, style=colour, markup=False, soft_wrap=True)


@contextmanager
def told(kept: Callable[[], str] = lambda: "nothing was kept.") -> Iterator[None]:
    """Run a command: warnings become lines, errors of ours a line and exit code 2, Ctrl-C a line and 130.

    Arguments:
        kept: says after Ctrl-C what lies where.

    Raises:
        typer.Exit: in place of ErrorwireError and KeyboardInterrupt; other exceptions pass.
    """
    try:
        with _warnings_as_lines():
            yield
    except ErrorwireError as error:
        complain("Error", str(error), "red")
        raise typer.Exit(REFUSED) from error
    except KeyboardInterrupt as error:
        complain("Interrupted", kept(), "yellow")
        raise typer.Exit(INTERRUPTED) from error


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Warnings about wirings as one line each, no matter how often they are given; the others as ever."""
    from compiler import WiringWarning  # only here: it imports torch

    seen: set[str] = set()
    with warnings.catch_warnings():
        ordinary = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if not issubclass(category, WiringWarning):
                ordinary(message, category, filename, lineno, file, line)
            elif str(message) not in seen:
                seen.add(str(message))
                complain("Warning", str(message), "yellow")

        warnings.showwarning = show
        warnings.simplefilter("always", WiringWarning)
        yield
