"""The 1797 handwritten digits of 8x8 pixels that scikit-learn brings along (UCI, Alpaydin and Kaynak, 1998)."""

from pathlib import Path

import torch

from runtime.data.record import Data, Split, split_of

TEST = 360


def load_digits(name: str, folder: Path | None, seed: int) -> Data:
    """1437 training and 360 test images ``[1, 8, 8]`` in an order drawn from ``seed``; ``folder`` is left alone."""
    # Only here: scikit-learn takes a second to import, and the other data sets can do without it.
    from sklearn.datasets import load_digits as load_from_sklearn

    bunch = load_from_sklearn()
    whole = split_of(bunch.images[:, None], bunch.target, largest=16)
    order = torch.randperm(len(whole.y), generator=torch.Generator().manual_seed(seed))
    train, test = order[:-TEST], order[-TEST:]
    return Data(name, Split(whole.x[train], whole.y[train]), Split(whole.x[test], whole.y[test]), classes=10)
