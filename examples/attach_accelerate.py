"""A Hugging Face Accelerate loop whose model learns by a wiring.

    pip install accelerate && python examples/attach_accelerate.py

``accelerator.backward`` divides the loss by the number of accumulated batches, so DRTP, which sends targets, is told so.
"""

import torch
from accelerate import Accelerator
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import wiring
from runtime import attach

ACCUMULATED = 2


def main(epochs: int = 5) -> float:
    """Accuracy on the digits that were held out."""
    torch.manual_seed(0)
    images, classes = (torch.as_tensor(values) for values in load_digits(return_X_y=True))
    x, y = images.float() / 16, classes
    train = DataLoader(TensorDataset(x[:1500], y[:1500]), batch_size=50, shuffle=True)
    net = nn.Sequential(nn.Linear(64, 256), nn.Tanh(), nn.Linear(256, 10))

    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=ACCUMULATED)
    own = attach(net, wiring.drtp(), x[:50], loss_scale=1 / ACCUMULATED)
    model, optimizer, train = accelerator.prepare(own, torch.optim.Adam(own.parameters(), lr=2e-3), train)
    for epoch in range(epochs):
        for xs, ys in train:
            with accelerator.accumulate(model):
                loss = nn.functional.cross_entropy(model(xs), ys)
                accelerator.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
        with torch.no_grad():
            accuracy = (model(x[1500:]).argmax(1) == y[1500:]).float().mean().item()
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}, accuracy {accuracy:.3f}")
    return accuracy


if __name__ == "__main__":
    main()
