"""What the commands write: files with errors that name them, and folders that hold no earlier run."""

import re
from pathlib import Path

from compiler.files import put
from wiring.errors import ErrorwireError

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
