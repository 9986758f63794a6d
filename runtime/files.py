"""Files that are there whole or not at all, and folders that hold no earlier run."""

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

from wiring.errors import ErrorwireError

TEMPORARY = re.compile(r"\.errorwire-[0-9a-f]{16}\.tmp")
"""Names of files under way; a writer that was killed leaves one behind."""


PLACE = "Choose a folder with room that may be written to."


class FileError(ErrorwireError):
    """A file or folder cannot be written."""


def write_whole(path: Path, content: bytes | str) -> None:
    """Put ``content`` (text as UTF-8) under ``path`` in one step; its folder is made if it is missing.

    Raises:
        FileError: the disk refuses, or no file can have that name; a file that was there before is untouched.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        put(path, content.encode() if isinstance(content, str) else content)
    except (OSError, ValueError) as problem:
        raise FileError(f"File '{path}' cannot be written ({reason(problem)}). {PLACE}") from problem


def put(path: Path, data: bytes, previous: Path | None = None) -> None:
    """Put ``data`` under ``path``, so that a reader, at any moment and after any crash, finds the old file or all of the new one.

    A symbolic link at ``path`` is replaced, not followed. ``previous`` is what the old file is called afterwards.

    Raises:
        OSError: nothing has changed then.
    """
    temporary = _temporary_beside(path)
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if previous is not None:
            _link_as(path, previous)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _link_as(path: Path, other: Path) -> None:
    """Let ``other`` name what lies under ``path`` now, whatever will; where the disk knows no hard links, nothing happens."""
    temporary = _temporary_beside(other)
    with suppress(OSError):
        os.link(path, temporary, follow_symlinks=False)
        os.replace(temporary, other)
    with suppress(OSError):  # two names of one file: replacing one by the other does nothing, and says nothing
        temporary.unlink()


def _temporary_beside(path: Path) -> Path:
    """A new name in the same folder, one that ``clear_temporaries`` knows."""
    return path.parent / f".errorwire-{secrets.token_hex(8)}.tmp"


def clear_temporaries(folder: Path) -> None:
    """Remove what killed writers left in ``folder``, in which nobody else may be writing now."""
    with suppress(OSError):
        for path in list(folder.iterdir()):
            if TEMPORARY.fullmatch(path.name):
                path.unlink()


def reason(problem: OSError | ValueError) -> str:
    """Why a file cannot be had, in the system's words."""
    return (isinstance(problem, OSError) and problem.strerror) or str(problem)


def fresh_folder(*names: str, root: Path = Path("runs")) -> Path:
    """A folder under ``root`` that is not there yet, called after ``names`` and numbered from 2 on; it is not made."""
    name = "-".join(_short(re.sub(r"[^\w.=,+]+", "_", Path(name).name).strip("_")) or "unnamed" for name in names)
    candidate, number = root / name, 1
    while candidate.exists():
        number += 1
        candidate = root / f"{name}-{number}"
    return candidate


def _short(name: str) -> str:
    """``name`` cut to what leaves room beside another in a folder's name."""
    return name.encode()[:100].decode(errors="ignore")
