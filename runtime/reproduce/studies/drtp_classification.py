"""DRTP's synthetic classification (Frenkel, Lefebvre, Bol 2021, section 3)."""

from runtime.reproduce.studies.drtp_recipe import wirings
from runtime.reproduce.study import Angles, Case, Curves, Study

PUBLISHED = {"bp": (0.19, 1.85), "fa": (0.64, 1.81), "dfa": (0.05, 3.48), "sdfa": (1.54, 4.07), "shallow": (8.95, 9.57)}
WIRINGS = wirings(kappa=10)
FROM_ZERO = ("fa", "dfa", "sdfa", "drtp")


def _case(name: str) -> Case:
    return Case(
        name=name,
        wiring=WIRINGS[name],
        model="mlp:width=500,depth=2",
        data="gaussian_clusters",
        loss="bce",
        init="zeros" if name in FROM_ZERO else None,
        optimizer="sgd:lr=5e-4,momentum=0.9,nesterov=true",
        batch_size=50,
        epochs=500,
        published=dict(zip(("train_error", "test_error"), PUBLISHED.get(name, ()), strict=False)),
        angles_every=10,
    )


STUDY = Study(
    name="drtp_classification",
    title="DRTP: synthetic classification",
    paper="Frenkel, Lefebvre and Bol (2021), section 3: table of errors after 500 epochs, mean of 10 trials",
    text=(
        "A 256-500-500-10 network of tanh units with sigmoid outputs under binary cross entropy learns ten classes of Gaussian "
        "clusters (25000 points to train, 5000 to test) by SGD with Nesterov momentum 0.9, rate 5e-4, batches of 50. As in the "
        "released code, weights start at zero under FA, DFA, sDFA and DRTP, while all biases, the network of BP and the frozen "
        "layers of the shallow one start as torch draws them; feedback is uniform after He, and hidden updates of DFA, sDFA and "
        "DRTP are sums over the batch of B (y - t), B sign(y - t) and B t. The paper prints no figures for DRTP here."
    ),
    cases=tuple(map(_case, WIRINGS)),
    figures=(
        Curves("errors", "test error", "test_error", log=True),
        Curves("training", "training error while learning", "train_error", log=True),
        Angles("angles", "angles at the hidden layers", "fa,dfa,sdfa,drtp"),
    ),
)
