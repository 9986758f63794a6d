"""A model whose process is killed: `errorwire train --model distributed_dying:mlp` imports this in every process of a run."""

import os
import signal
import threading
import time
from pathlib import Path

from torch import nn

EPOCHS = ((1, 3), (0, 6))  # in attempt 0 process 1 is killed behind epoch 3, in attempt 1 process 0 behind epoch 6


def mlp(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """The model; the process that is to die watches the run's metrics from now on."""
    attempt = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "-1"))
    if 0 <= attempt < len(EPOCHS):
        rank, epoch = EPOCHS[attempt]
        if int(os.environ["RANK"]) == rank:
            threading.Thread(target=_die, args=(Path("run/metrics.csv"), epoch), daemon=True).start()
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, classes))


def _die(metrics: Path, epoch: int) -> None:
    while not metrics.exists() or len(metrics.read_text().splitlines()) <= epoch:
        time.sleep(0.002)
    os.kill(os.getpid(), signal.SIGKILL)
