"""Freed memory kept for the next step, on glibc: giving it back to the system costs more than many a convolution.

A step frees megabytes that the next step asks for again. glibc returns large blocks to the kernel, and every page of them is then
cleared and mapped anew, 2048 pages for 8 MB. PyTorch's own CPU allocator leaves that to the C library.
"""

import ctypes
import sys

_LARGEST = 2**31 - 1
_SETTINGS = {-1: _LARGEST, -3: _LARGEST, -8: 1}
"""M_TRIM_THRESHOLD, M_MMAP_THRESHOLD and M_ARENA_MAX of malloc.h: threads share the one arena that never shrinks."""


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, for eager torch and update programs alike; its resident size stays at the peak.

    Call it before threads start. Returns whether the C library knows how: glibc does, others are left as they are.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(setting, value) == 1 for setting, value in _SETTINGS.items())
