"""The two synthetic sets of Frenkel, Lefebvre and Bol (2021), as their released code draws them."""

import math

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from runtime.data import Split

FEATURES, OUTPUTS = 256, 10
TRAIN = 25_000
REGRESSION = (5000, 1000)


def gaussian_clusters() -> tuple[Split, Split]:
    """25000 training and 5000 test points in ten classes of five Gaussian clusters each, in 128 of 256 dimensions.

    Returns:
        Points as ``[N, 256, 1, 1]``.
    """
    from sklearn.datasets import make_classification  # only here: scikit-learn takes a second to import

    points, classes = make_classification(
        n_samples=30_000, n_features=FEATURES, n_informative=128, n_redundant=0, n_repeated=0, n_classes=OUTPUTS,
        n_clusters_per_class=5, class_sep=4.5, scale=1.0, shuffle=True, random_state=0,
    )  # fmt: skip
    x, y = torch.from_numpy(points).float()[:, :, None, None], torch.from_numpy(classes).long()
    return Split(x[:TRAIN], y[:TRAIN]), Split(x[TRAIN:], y[TRAIN:])


def cosines() -> tuple[TensorDataset, TensorDataset]:
    """5000 training and 1000 test points: ``t_j = cos(mean(x) + phi_j)``, ``phi_j = -pi/2 + j pi/9``, j = 0 to 9.

    The 256 numbers of ``x`` are normal with variance 1 around a mean drawn uniformly from ``[-pi, pi]`` for each sample.

    Returns:
        ``x`` as ``[N, 256]`` and ``t`` as ``[N, 10]``.
    """
    generator = torch.Generator().manual_seed(0)
    train, test = (_cosines(count, generator) for count in REGRESSION)
    return TensorDataset(*train), TensorDataset(*test)


def _cosines(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    means = math.pi * (2 * torch.rand(count, 1, generator=generator) - 1)
    x = means + torch.randn(count, FEATURES, generator=generator)
    phases = math.pi * (torch.arange(OUTPUTS) / (OUTPUTS - 1) - 0.5)
    return x, torch.cos(x.mean(1, keepdim=True) + phases)
