"""The machine and the commit that a benchmark ran on, and how the C library keeps memory."""

import datetime
import os
import platform
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import torch

KEPT = {"MALLOC_TRIM_THRESHOLD_": "4000000000", "MALLOC_MMAP_THRESHOLD_": "4000000000"}
"""glibc's malloc then keeps freed memory. By default it gives big blocks back to the kernel, and page faults when they are needed
again take time, from one contender more than from another by what the heap has been through before."""


def keep_freed_memory() -> None:
    """Start this program over with ``KEPT`` in its environment, unless it has it: malloc looks at it only once."""
    if any(os.environ.get(name) != value for name, value in KEPT.items()):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **KEPT})


def malloc() -> str:
    """How malloc keeps memory, in words."""
    set_here = {name: os.environ[name] for name in KEPT if name in os.environ}
    if set_here == KEPT:
        return "keeps freed memory (" + ", ".join(f"{name}={value}" for name, value in KEPT.items()) + ")"
    return f"as set by the caller ({set_here})" if set_here else "default"


def facts() -> dict[str, object]:
    """For the JSON: what ran, on what, when."""
    return {
        "cpu": cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "load": [round(value, 2) for value in os.getloadavg()],
        "malloc": malloc(),
        "command": " ".join([Path(sys.executable).name, *sys.argv]),
        **commit(),
    }


def commit() -> dict[str, str]:
    """The commit of the repository that this file lies in, "+ changes" behind it where the tree differs; nothing outside of one."""
    git = ["git", "--no-optional-locks", "-C", str(Path(__file__).parent)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changes = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"commit": head + " + changes" * bool(changes)}


def cpu() -> str:
    """What the processor calls itself, and which instructions torch uses of it."""
    name = platform.processor() or platform.machine()
    with suppress(OSError):
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        name = found[1] if found else name
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"
