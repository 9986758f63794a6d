"""Patterns over site names, module paths and parameter names: ``*`` any characters, ``?`` one, ``[ab]`` one of these."""

from collections.abc import Iterable
from fnmatch import fnmatchcase


def fits_any(name: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns fits the whole name; a name always fits itself, brackets and all."""
    return any(name == pattern or fnmatchcase(name, pattern) for pattern in patterns)
