"""What fuzzed input must never bring about, noticed by an audit hook: running programs or pickles, and writing outside a folder."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RUNNING = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn"}
LOADING = {"pickle.find_class", "marshal.load", "cpython.run_file", "cpython.run_command"}
CHANGING = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "shutil.rmtree", "os.chmod"}
CONNECTING = {"socket.connect", "socket.getaddrinfo"}


class Violation(BaseException):
    """Input has brought about what it must not; no handler of errors may catch it."""


@dataclass
class _Watch:
    """``allowed``: the folders that may be written to now, or ``None`` where nobody watches."""

    installed: bool = False
    allowed: tuple[str, ...] | None = None
    seen: list[str] = field(default_factory=list)

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.allowed is None:
            return
        if event in CONNECTING:
            raise OSError("no network here")
        if event in RUNNING or event in LOADING or (event == "ctypes.dlopen" and arguments[0] is not None):
            self._violated(event, arguments)
        if event == "open" and _writes(arguments) and not self._inside(arguments[0]):
            self._violated(event, arguments)
        if event in CHANGING and not all(self._inside(path) for path in arguments if isinstance(path, str | bytes | os.PathLike)):
            self._violated(event, arguments)

    def _inside(self, path: Any) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):  # a descriptor, which was opened before
            return True
        place = os.path.realpath(os.fsdecode(path))
        return place == os.devnull or any(place.startswith(folder) for folder in self.allowed or ())

    def _violated(self, event: str, arguments: tuple[Any, ...]) -> None:
        self.seen.append(f"{event}{arguments!r}")
        raise Violation(self.seen[-1])


def _writes(arguments: tuple[Any, ...]) -> bool:
    _, mode, flags = arguments
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))


_watch = _Watch()


@contextmanager
def guarded(*folders: Path) -> Iterator[None]:
    """Raise Violation where a program or pickle is run, or a file outside ``folders`` is written; connections are refused."""
    if not _watch.installed:
        sys.addaudithook(_watch.hook)  # stays for good, and sleeps outside this context
        _watch.installed = True
    _watch.seen.clear()
    _watch.allowed = tuple(os.path.realpath(folder) for folder in folders)
    try:
        yield
    finally:
        _watch.allowed = None
    if _watch.seen:
        raise Violation("; ".join(_watch.seen))


_scratch = tempfile.TemporaryDirectory(prefix="errorwire-fuzz-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)


@contextmanager
def scratch() -> Iterator[Path]:
    """An empty folder, the only one that may be written to; the same at every call, for making one takes longer than an example."""
    folder = Path(_scratch.name)
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        with guarded(folder):
            yield folder
    finally:
        tempfile.tempdir = before
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
