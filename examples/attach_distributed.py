"""Two processes under DistributedDataParallel, whose model learns by a wiring: updates are averaged as gradients are.

python examples/attach_distributed.py
"""

import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import wiring
from runtime import attach

PROCESSES, EPOCHS, BATCH = 2, 5, 25


def learn(rank: int, meeting: str) -> None:
    """One process: its share of every batch."""
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=PROCESSES)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images, classes = (torch.as_tensor(values) for values in load_digits(return_X_y=True))
    x, y = images.float() / 16, classes
    net = nn.Sequential(nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, 10))
    model = DistributedDataParallel(attach(net, wiring.dkp(), x[:BATCH]))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(EPOCHS):
        for places in torch.randperm(1500).view(-1, PROCESSES, BATCH):
            own = places[rank]
            loss = nn.functional.cross_entropy(model(x[own]), y[own])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if rank == 0:
            with torch.no_grad():
                accuracy = (model.module(x[1500:]).argmax(1) == y[1500:]).float().mean().item()
            print(f"epoch {epoch + 1}: loss {loss.item():.3f}, accuracy {accuracy:.3f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(learn, (str(Path(folder) / "meeting"),), PROCESSES)
