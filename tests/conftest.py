"""What holds for every test."""

import os
import shutil
import tempfile

import pytest
import torch

CACHE = "ERRORWIRE_CACHE"
OWN = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """This machine's cost model is measured for this run and thrown away with it: the user's cache is left alone."""
    if CACHE not in os.environ:  # the processes of xdist inherit it
        config.stash[OWN] = os.environ[CACHE] = tempfile.mkdtemp(prefix="errorwire-tests-")


def pytest_unconfigure(config: pytest.Config) -> None:
    if OWN in config.stash:
        shutil.rmtree(config.stash[OWN], ignore_errors=True)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test begins with the same random numbers, whichever ran before it."""
    torch.manual_seed(0)
