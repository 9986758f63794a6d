"""Files that are there whole or not at all."""

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

TEMPORARY = re.compile(r"\.errorwire-[0-9a-f]{16}\.tmp")
"""Names of files under way; a writer that was killed leaves one behind."""


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
