"""Files that are there whole or not at all, and folders that hold no earlier run."""

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

from wiring.errors import ErrorwireError


class FileError(ErrorwireError):
    """A file or folder cannot be written."""


def write_whole(path: Path, content: bytes | str) -> None:
    """Put ``content`` (text as UTF-8) under ``path`` in one step; its folder is made if it is missing.

    Raises:
        FileError: the disk refuses; a file that was there before is untouched.
    """
    temporary = path.parent / f".errorwire-{secrets.token_hex(8)}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(temporary, path)
    except BaseException as problem:
        with suppress(OSError):
            temporary.unlink()
        if not isinstance(problem, OSError):
            raise
        raise FileError(
            f"File '{path}' cannot be written ({problem.strerror}). Choose a folder with room that may be written to."
        ) from problem


def fresh_folder(*names: str, root: Path = Path("runs")) -> Path:
    """A folder under ``root`` that is not there yet, called after ``names`` and numbered from 2 on; it is not made."""
    name = "-".join(re.sub(r"[^\w.=,+]+", "_", Path(name).name).strip("_") or "unnamed" for name in names)
    candidate, number = root / name, 1
    while candidate.exists():
        number += 1
        candidate = root / f"{name}-{number}"
    return candidate
