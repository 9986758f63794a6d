"""rec-LRA's curves of convergence: deep sigmoid and tanh networks against backpropagation (rec-LRA 2023, figure)."""

from runtime.reproduce.studies.rec_lra_mlp import WIRINGS
from runtime.reproduce.study import Case, Curves, Metric, Study

ALGORITHMS = {"bp": WIRINGS["bp"], "rec_lra": WIRINGS["rec_lra_tanh"]}
ACTIVATIONS = ("sigmoid", "tanh")
METRICS: dict[Metric, str] = {"test_error": "test error", "train_error": "training error (while learning)"}


def _case(activation: str, algorithm: str) -> Case:
    return Case(
        name=f"{activation}-{algorithm}",
        wiring=ALGORITHMS[algorithm],
        model=f"rec_lra_mlp:depth=8,activation={activation}",
        data="mnist",
        init="normal:std=0.05",
        optimizer="adam:lr=2e-4",
        batch_size=32,
        epochs=500,
    )


STUDY = Study(
    name="rec_lra_convergence",
    title="rec-LRA: convergence of deep MLPs on MNIST",
    paper="Ororbia, Mali, Kifer and Giles (2023): curves of networks of 8 hidden layers, rec-LRA against BP; no figures are printed",
    text=(
        "Networks of 8 hidden layers of 256 sigmoid or tanh units, in the recipe of `rec_lra_mlp`: Adam with rate 2e-4, batches of 32, "
        "Gaussian first weights of deviation 0.05, gap 2, beta 0.1, re-projection to norm 1. The number of epochs is the table's."
    ),
    cases=tuple(_case(activation, algorithm) for activation in ACTIVATIONS for algorithm in ALGORITHMS),
    figures=tuple(
        Curves(f"{activation}-{metric}", f"{what} of {activation} units", metric, f"{activation}-*", log=True)
        for activation in ACTIVATIONS
        for metric, what in METRICS.items()
    ),
)
