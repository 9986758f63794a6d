"""DRTP's MNIST study (Frenkel, Lefebvre, Bol 2021, section 3): five networks, three rates of dropout, six algorithms."""

from dataclasses import dataclass

from runtime.reproduce.studies.drtp_recipe import wirings
from runtime.reproduce.study import Angles, Case, Curves, Study

WIRINGS = wirings(kappa=10)
DROPOUTS = ("0", "0.1", "0.25")


@dataclass(frozen=True)
class Network:
    """A network, its parameters that do not learn, and the rates of the paper's table 3 in the order of ``WIRINGS``."""

    model: str
    rates: tuple[str, ...]
    frozen: str | None = None


FC1, FC2 = ("1.5e-4", "5e-4", "1.5e-4", "5e-4", "1.5e-4", "1.5e-2"), ("5e-4", "1.5e-4", "5e-4", "5e-4", "1.5e-4", "5e-3")
NETWORKS = {
    "fc1_500": Network("drtp_mlp:width=500,depth=1", FC1),
    "fc1_1000": Network("drtp_mlp:width=1000,depth=1", FC1),
    "fc2_500": Network("drtp_mlp:width=500,depth=2", FC2),
    "fc2_1000": Network("drtp_mlp:width=1000,depth=2", FC2),
    "conv_random": Network("drtp_conv:width=1000", ("5e-5", "1.5e-4", "5e-5", "5e-4", "5e-4", "5e-3"), frozen="conv1.*"),
    "conv_trained": Network("drtp_conv:width=1000", ("5e-4", "5e-5", "5e-5", "1.5e-4", "1.5e-4")),
}


def _cases(name: str, network: Network) -> list[Case]:
    """A case for each algorithm and dropout; where kernels learn there is no shallow one."""
    return [
        Case(
            name=f"{name}-{algorithm}" + ("" if dropout == "0" else f"-dropout{dropout}"),
            wiring=_wiring(algorithm, network.frozen),
            model=f"{network.model},dropout={dropout}",
            data="mnist",
            loss="bce",
            optimizer=f"adam:lr={rate}",
            batch_size=60,
            epochs=100,
            angles_every=5,
        )
        for dropout in DROPOUTS
        for algorithm, rate in zip(WIRINGS, network.rates, strict=False)
    ]


def _wiring(algorithm: str, frozen: str | None) -> str:
    text = WIRINGS[algorithm]
    if frozen is None or algorithm == "shallow":  # which freezes every hidden layer by itself
        return text
    return f"{text}{',' if ':' in text else ':'}frozen={frozen}"


def _alike(name: str) -> str:
    """Patterns for a network's cases without dropout."""
    return ",".join(f"{name}-{algorithm}" for algorithm in WIRINGS)


STUDY = Study(
    name="drtp_mnist",
    title="DRTP: MNIST",
    paper="Frenkel, Lefebvre and Bol (2021), section 3: table of test errors after 100 epochs, mean of 10 trials",
    text=(
        "Tanh networks with sigmoid outputs under binary cross entropy learn MNIST, pixels in [0, 1], by Adam in batches of 60, with "
        "the rates of the paper's table 3: one or two layers of 500 or 1000 units, and 32 kernels of 5x5 with pooling and 1000 "
        "units, whose kernels learn or stay random. Dropout is on the inputs of fully connected layers. Feedback sits behind "
        "the activation and before pooling, is dense and uniform after He; hidden updates of DFA, sDFA and DRTP are the released "
        "code's sums over the batch. Minutes are no comparison: on a machine shared with other work, those of `conv_trained-bp`, "
        "`conv_trained-fa` and `conv_random-shallow` are several times those of rows that compute as much."
    ),
    cases=tuple(case for name, network in NETWORKS.items() for case in _cases(name, network)),
    figures=(
        *(Curves(f"errors-{name}", f"{name}, test error", "test_error", _alike(name), log=True) for name in NETWORKS),
        *(Angles(f"angles-{name}", f"{name}, angles at the hidden layers", _alike(name)) for name in NETWORKS),
        Angles(
            "kernels",
            "angle of the update of the kernels",
            ",".join(f"conv_trained-{algorithm}" for algorithm in ("fa", "dfa", "sdfa", "drtp")),
            of="update conv1.weight",
        ),
    ),
)
