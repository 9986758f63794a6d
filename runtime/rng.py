"""The seed and the states of every random generator that a run draws from: torch's, Python's, numpy's."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from runtime.tree import CheckpointError, Tree

_KEYS = 624  # numbers that a Mersenne Twister keeps


def seed_rng(seed: int) -> None:
    """Seed the global generators: torch on every device, ``random``, and numpy's by the last 32 bits, which is all that it takes."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The global generators seeded, and afterwards as they were."""
    before = capture_rng()
    seed_rng(seed)
    try:
        yield
    finally:
        restore_rng(before)


def capture_rng() -> Tree:
    """The states of the global generators: torch on the CPU, ``random``, numpy's, and torch's on CUDA if in use."""
    legacy: dict[str, Any] = dict(np.random.get_state(legacy=False))
    state = {key: torch.from_numpy(v.copy()) if isinstance(v, np.ndarray) else v for key, v in legacy["state"].items()}
    in_use = torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    states: dict[str, Tree] = {
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": {**legacy, "state": state},
        "cuda": torch.cuda.get_rng_state_all() if in_use else [],
    }
    return states


def restore_rng(tree: Tree) -> None:
    """Set the generators to what `capture_rng` returned; CUDA states go to those devices that are there.

    Raises:
        CheckpointError: ``tree`` is none of `capture_rng`'s; the generators are then as they were.
    """
    before = capture_rng()
    try:
        _set_rng(tree)
    except Exception as error:  # three libraries, each with its own errors for a state it did not write
        _set_rng(before)
        raise CheckpointError(
            f"The random states in this checkpoint do not fit the generators here ({error}). Save them with "
            f"capture_rng(), or resume without them and seed anew."
        ) from error


def _set_rng(state: Any) -> None:
    arrays = {key: v.numpy() if isinstance(v, torch.Tensor) else v for key, v in state["numpy"]["state"].items()}
    if not 0 <= arrays.get("pos", 0) <= _KEYS:  # numpy reads there unasked
        raise ValueError(f"numpy's generator has no place {arrays['pos']}")
    torch.set_rng_state(state["torch"])
    random.setstate(state["python"])
    np.random.set_state({**state["numpy"], "state": arrays})
    devices = range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    for device, cuda in zip(devices, state["cuda"], strict=False):
        torch.cuda.set_rng_state(cuda, device)
