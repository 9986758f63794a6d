"""What the command says on its two streams, and how it ends."""

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

import typer
from rich.console import Console

from compiler import WiringWarning, WorldWarning
from runtime.distributed.loss import first_to_tell
from runtime.errors import TrainingWarning
from runtime.interruption import Terminated, terminable
from wiring.errors import ErrorwireError, PluginWarning

WIDTH = 132  # where nobody sees a terminal's width
OWN = (WiringWarning, WorldWarning, PluginWarning, TrainingWarning)
FAILED, REFUSED, INTERRUPTED, TERMINATED = 1, 2, 130, 143


def output() -> Console:
    """Standard output, as wide as the terminal; of several processes the first one speaks."""
    console = _console(sys.stdout)
    console.quiet = _rank() > 0
    return console


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
    """Run a command: warnings become lines, errors of ours a line and exit code 2, Ctrl-C a line and 130,
    SIGTERM a line and 143; a second SIGTERM ends the process at once.

    Arguments:
        kept: says after Ctrl-C and SIGTERM what lies where.

    Raises:
        typer.Exit: in place of ErrorwireError, KeyboardInterrupt and Terminated, and of an OSError that names a path; others pass.
    """
    try:
        with terminable(), _warnings_as_lines():
            yield
    except ErrorwireError as error:
        _complain_once("Error" + (f" in process {_rank()}" if _rank() else ""), str(error), "red")
        raise typer.Exit(REFUSED) from error
    except OSError as error:
        if error.filename is None or not _is_first_to_tell():
            raise
        complain("Error", f"'{error.filename}' cannot be used ({error.strerror}). Choose another path.", "red")
        raise typer.Exit(REFUSED) from error
    except KeyboardInterrupt as error:
        _complain_once("Interrupted", kept(), "yellow")
        raise typer.Exit(INTERRUPTED) from error
    except Terminated as error:
        _complain_once("Terminated", kept(), "yellow")
        raise typer.Exit(TERMINATED) from error
    except Exception:
        _is_first_to_tell()  # the traceback tells
        raise


def _complain_once(label: str, text: str, colour: str) -> None:
    """Complain, unless another of several processes has done so: they end for one reason."""
    if _is_first_to_tell():
        complain(label, text, colour)


def _is_first_to_tell() -> bool:
    return "WORLD_SIZE" not in os.environ or first_to_tell()


def _rank() -> int:
    """This process's number among those that torchrun has started; 0 alone."""
    number = os.environ.get("RANK", "0") if "WORLD_SIZE" in os.environ else "0"
    return int(number) if number.isdecimal() else 0


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Warnings of errorwire's own as one line each, no matter how often they are given; the others as ever."""
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
            if not issubclass(category, OWN):
                ordinary(message, category, filename, lineno, file, line)
            elif str(message) not in seen and not _rank():
                seen.add(str(message))
                complain("Warning", str(message), "yellow")

        warnings.showwarning = show
        for category in OWN:
            warnings.simplefilter("always", category)
        yield
