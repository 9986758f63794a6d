"""Your own model and data, trained by as many processes as torchrun starts, or by one:

torchrun --nproc-per-node 2 examples/train_distributed.py
python examples/train_distributed.py
"""

from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset

import wiring
from compiler import compile
from runtime import Learner, fit
from runtime.distributed import Portion, joined

BATCH = 50  # of all processes together


def main(folder: Path = Path("runs/digits")) -> None:
    """Every process runs this; each takes its share of every batch, and the first one writes and speaks."""
    images, classes = (torch.as_tensor(values) for values in load_digits(return_X_y=True))
    x, y = images.float() / 16, classes
    with joined() as peers:
        torch.manual_seed(0)  # the same model in all of them; fit seeds each one's dropout
        model = nn.Sequential(nn.Linear(64, 128), nn.Tanh(), nn.Dropout(0.1), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, 10))
        share = Portion(0, peers.size).samples(BATCH)
        learner = Learner(compile(model, wiring.dkp(), (x[:share], y[:share]), world=peers.world))
        optimizer = torch.optim.Adam(learner.parameters(), lr=2e-3)
        train, test = TensorDataset(x[:1500], y[:1500]), TensorDataset(x[1500:], y[1500:])
        path = folder / "checkpoint.safetensors"
        fit(learner, optimizer, train, epochs=5, test=test, batch_size=BATCH, folder=folder, resume=peers.by_first(path.exists))


if __name__ == "__main__":
    main()
