"""A LightningModule whose network learns by a wiring; the Trainer knows nothing of it.

pip install lightning && python examples/attach_lightning.py
"""

import lightning
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import wiring
from runtime import attach


class Digits(lightning.LightningModule):
    """Digits by direct Kolen-Pollack: ``parameters()`` holds the error synapses too, so the optimiser teaches them as well."""

    def __init__(self, example: Tensor) -> None:
        super().__init__()
        net = nn.Sequential(nn.Linear(64, 128), nn.BatchNorm1d(128), nn.Tanh(), nn.Linear(128, 10))
        self.net = attach(net, wiring.dkp(), example)

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        x, y = batch
        return nn.functional.cross_entropy(self.net(x), y)

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        x, y = batch
        self.log("accuracy", (self.net(x).argmax(1) == y).float().mean(), prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def main(epochs: int = 5) -> float:
    """Accuracy on the digits that were held out."""
    lightning.seed_everything(0)
    images, classes = (torch.as_tensor(values) for values in load_digits(return_X_y=True))
    x, y = images.float() / 16, classes
    train = DataLoader(TensorDataset(x[:1500], y[:1500]), batch_size=50, shuffle=True)
    test = DataLoader(TensorDataset(x[1500:], y[1500:]), batch_size=297)
    trainer = lightning.Trainer(max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.fit(Digits(x[:50]), train, test)
    return float(trainer.callback_metrics["accuracy"])


if __name__ == "__main__":
    print(f"accuracy {main():.3f}")
