"""A folder that one run at a time may write to."""

import errno
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from compiler.files import clear_temporaries
from runtime.errors import TrainingError
from runtime.files import PLACE, reason

try:
    import fcntl
except ImportError:  # Windows: folders are not guarded there
    fcntl = None  # type: ignore[assignment]

LOCK = ".errorwire.lock"
_TAKEN = (errno.EACCES, errno.EAGAIN)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_LONGEST = 1000  # bytes of a lock file that are looked at


@dataclass
class _Claim:
    """A folder that this process holds; ``depth`` claims of one thread lie in each other; ``made``: what was missing."""

    descriptor: int
    made: list[Path]
    process: int
    thread: int
    depth: int = 1


_held: dict[Path, _Claim] = {}


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold ``folder``, which is made if it is missing, and clear what killed writers left in it.

    The lock is POSIX's on ``.errorwire.lock``: it ends with its process however that ends, forked workers do not inherit it, and it
    reaches across hosts where the file system's locks do, as NFS's. A thread may claim again what it holds. Where
    the file system has no locks the folder is not guarded.

    Raises:
        TrainingError: another run holds the folder (told with process and host), or it cannot be made or written to.
    """
    place = _resolved(folder)
    mine = _held.get(place)
    if mine is not None and mine.process == os.getpid():
        if mine.thread != threading.get_ident():
            raise _in_use(folder, "another thread of this process")
        mine.depth += 1
    else:
        made = _make(folder)
        _held[place] = _Claim(_locked(folder), made, os.getpid(), threading.get_ident())
        clear_temporaries(place)
    try:
        yield
    finally:
        _held[place].depth -= 1
        if not _held[place].depth:
            _release(place)


def _release(place: Path) -> None:
    """Remove the lock file while it is still held: who has opened it meanwhile finds that it is no longer there."""
    claim = _held.pop(place)
    with suppress(OSError):
        (place / LOCK).unlink()
    os.close(claim.descriptor)
    with suppress(OSError):  # something lies in them, as a rule
        for made in claim.made:
            made.rmdir()


def _resolved(folder: Path) -> Path:
    """One path for every way to write the folder's."""
    try:
        return Path(os.path.realpath(folder))
    except ValueError as problem:  # no folder can have that name
        raise _not_made(folder, problem) from problem


def _make(folder: Path) -> list[Path]:
    """Make ``folder`` and what is missing above it; these, the innermost first."""
    try:
        missing = [each for each in (folder, *folder.parents) if not each.exists()]
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise _not_made(folder, problem) from problem
    return missing


def _not_made(folder: Path, problem: OSError | ValueError) -> TrainingError:
    return TrainingError(f"The folder '{folder}' cannot be made ({reason(problem)}). Choose another.")


def _locked(folder: Path) -> int:
    """The descriptor of the lock file in ``folder``, locked."""
    path = folder / LOCK
    try:
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
            try:
                if not _take(descriptor, folder) or _is_at(descriptor, path):
                    _sign(descriptor)
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # its holder has just removed it
    except OSError as problem:
        raise TrainingError(f"The folder '{folder}' cannot be written to ({reason(problem)}). {PLACE}") from problem


def _take(descriptor: int, folder: Path) -> bool:
    """Lock the file; whether there are locks here."""
    if fcntl is None:
        return False
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as problem:
        if problem.errno in _NO_LOCKS:
            return False
        if problem.errno in _TAKEN:
            raise _in_use(folder, _holder(descriptor)) from problem
        raise
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one that ``path`` names now."""
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return False
    here = os.fstat(descriptor)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def _sign(descriptor: int) -> None:
    """Say in the lock file who holds it, for the message that another gets."""
    signature = {"process": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, (json.dumps(signature) + "\n").encode(), 0)


def _holder(descriptor: int) -> str:
    """Who holds a lock, as the file says; it may be anybody's."""
    try:
        signature = json.loads(os.pread(descriptor, _LONGEST, 0))
        return f"process {int(signature['process'])} on host {str(signature['host'])!r}, since {str(signature['since'])!r}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "another process"


def _in_use(folder: Path, holder: str) -> TrainingError:
    return TrainingError(
        f"The folder '{folder}' is in use by {holder}. Wait until that run has ended or stop it, or choose another folder."
    )
