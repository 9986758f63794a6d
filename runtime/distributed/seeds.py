"""Random draws that differ between processes."""

import random
import zlib

import numpy as np
import torch


def seed_process(seed: int, rank: int, step: int = 0) -> None:
    """Seed torch, ``random`` and numpy from a run's seed, this process's rank, and the step at which it joins the run."""
    mixed = zlib.crc32(f"{seed} {rank} {step}".encode())
    torch.manual_seed(mixed)
    random.seed(mixed)
    np.random.seed(mixed)
