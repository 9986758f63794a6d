"""Whether something fits into this machine's memory at all, asked before it is made: the system may end a process that finds out later."""

import os

_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def memory_bytes() -> int | None:
    """This machine's memory; ``None`` where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def too_much(wanted: int) -> str | None:
    """In words, how ``wanted`` bytes exceed the memory of this machine; ``None`` where they do not."""
    there = memory_bytes()
    return None if there is None or wanted <= there else f"{_written(wanted)}, and this machine has {_written(there)}"


def _written(count: int) -> str:
    power = min((len(str(count)) - 1) // 3, len(_UNITS) - 1)
    return f"{count // 1000**power:,} {_UNITS[power]}"
