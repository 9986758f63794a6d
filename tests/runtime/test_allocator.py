"""Freed memory stays with the process once asked for: pages are not mapped anew at every step."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, torch
from runtime import keep_freed_memory

torch.set_num_threads(1)
assert keep_freed_memory()
x = torch.randn(64, 32, 32, 32)

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        one = torch.relu(x)
        two = torch.relu(x)
        del one, two
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""
PAGES_OF_ONE = 64 * 32 * 32 * 32 * 4 // 4096


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_pages_are_not_mapped_anew() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert int(done.stdout) < PAGES_OF_ONE
