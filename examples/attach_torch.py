"""A plain PyTorch loop with autocast, a GradScaler and gradient accumulation, whose model learns by a wiring.

    python examples/attach_torch.py [--wiring rec_lra] [--epochs 5]

Without ``attach`` this is the loop that anybody writes. Rules that are linear in the error would not need ``loss_scale``.
"""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn

from runtime import attach
from wiring import parse_wiring

ACCUMULATED = 2


def main(wiring: str = "rec_lra", epochs: int = 5) -> float:
    """Accuracy on the digits that were held out."""
    torch.manual_seed(0)
    images, classes = (torch.as_tensor(values) for values in load_digits(return_X_y=True))
    x, y = images.float() / 16, classes
    train = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x[:1500], y[:1500]), batch_size=50, shuffle=True)
    net = nn.Sequential(nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, 10))

    scaler = torch.amp.GradScaler("cpu")
    model = attach(net, parse_wiring(wiring), x[:50], loss_scale=lambda: scaler.get_scale() / ACCUMULATED)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(epochs):
        for number, (xs, ys) in enumerate(train, start=1):
            with torch.autocast("cpu", torch.bfloat16):
                loss = nn.functional.cross_entropy(model(xs), ys)
            scaler.scale(loss / ACCUMULATED).backward()
            if number % ACCUMULATED == 0:
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad()
        with torch.no_grad():
            accuracy = (model(x[1500:]).argmax(1) == y[1500:]).float().mean().item()
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}, accuracy {accuracy:.3f}")
    return accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wiring", default="rec_lra")
    parser.add_argument("--epochs", type=int, default=5)
    main(**vars(parser.parse_args()))
