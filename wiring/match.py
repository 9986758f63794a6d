"""Patterns over site names, module paths and parameter names: ``*`` any characters, ``?`` one, ``[ab]`` one of these."""

from collections.abc import Iterable
from fnmatch import fnmatchcase


def fits_any(name: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns fits the whole name."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)
