"""DRTP's synthetic regression (Frenkel, Lefebvre, Bol 2021, section 3)."""

from runtime.reproduce.studies.drtp_recipe import wirings
from runtime.reproduce.study import Angles, Case, Curves, Study

WIRINGS = {name: text for name, text in wirings(kappa=5).items() if name != "drtp"}
FROM_ZERO = ("fa", "dfa", "sdfa")


def _case(name: str) -> Case:
    return Case(
        name=name,
        wiring=WIRINGS[name],
        model="mlp:width=100,depth=2",
        data="cosines",
        loss="mse",
        init="zeros" if name in FROM_ZERO else None,
        optimizer="sgd:lr=5e-4,momentum=0.9,nesterov=true",
        batch_size=50,
        epochs=500,
        angles_every=10,
    )


STUDY = Study(
    name="drtp_regression",
    title="DRTP: synthetic regression",
    paper="Frenkel, Lefebvre and Bol (2021), section 3: curves over 500 epochs",
    text=(
        "A 256-100-100-10 network of tanh units with linear outputs under the mean squared error learns ten cosines of its input's "
        "mean (5000 samples to train, 1000 to test) by SGD with Nesterov momentum 0.9, rate 5e-4, batches of 50; first weights, "
        "feedback and the scale of hidden updates are those of the classification. The paper prints curves and no figures: DFA "
        "and sDFA converge fastest, DFA ends lowest, sDFA stalls earlier, the shallow network fails, and all angles stay below 90 degrees."
    ),
    cases=tuple(map(_case, WIRINGS)),
    metrics=("train_loss", "test_loss"),
    figures=(
        Curves("losses", "test loss", "test_loss", log=True),
        Curves("training", "training loss while learning", "train_loss", log=True),
        Angles("angles", "angles at the hidden layers", "fa,dfa,sdfa"),
    ),
)
