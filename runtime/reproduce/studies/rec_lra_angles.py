"""rec-LRA's figure of angles: its updates beside backpropagation's while a residual MLP learns (rec-LRA 2023, figure)."""

from runtime.reproduce.studies.rec_lra_mlp import WIRINGS
from runtime.reproduce.study import Angles, Case, Curves, Study

ALGORITHMS = {
    "bp": WIRINGS["bp"],
    "fa": WIRINGS["fa"],
    "dfa": WIRINGS["dfa"],
    "lra_e": WIRINGS["lra_e"].replace("beta=0.1", "beta=0.9"),
    "rec_lra": WIRINGS["rec_lra_relu"],
}
STD = "std=0.025"  # with shortcuts, activities grow from layer to layer
HIDDEN = "update hidden1.weight,update block*.weight"


def _case(name: str) -> Case:
    return Case(
        name=name,
        wiring=ALGORITHMS[name].replace("std=0.05", STD),
        model="rec_lra_residual_mlp",
        data="mnist",
        init=f"normal:{STD}",
        optimizer="adam:lr=2e-4",
        batch_size=32,
        epochs=100,
        angles_every=None if name == "bp" else 1,
    )


STUDY = Study(
    name="rec_lra_angles",
    title="rec-LRA: angles of updates to backpropagation's",
    paper=(
        "Ororbia, Mali, Kifer and Giles (2023): figure of the angle between updates of rec-LRA and BP, which starts closer to BP and "
        "levels off just under 75 degrees"
    ),
    text=(
        "A residual network of 8 hidden layers of 256 ReLU units learns MNIST in the recipe of `rec_lra_mlp` (Adam with rate 2e-4, batches of "
        "32, gap 2, beta 0.1). Gaussian weights and error synapses start with deviation 0.025, the lower end of the paper's range, since shortcuts "
        "let activities grow from layer to layer. LRA-E has beta 0.9: with 0.1 an error shrinks tenfold a layer, and that of the first one "
        "is lost in float32's rounding. The angle is that between the update of each hidden layer's weights "
        "and their gradient at the same point, over 500 test images, as the mean over the layers; the layer in front of the output learns "
        "by its gradient in all rows. How the paper averages is not known here, nor its number of epochs: 100 is ours."
    ),
    cases=tuple(map(_case, ALGORITHMS)),
    figures=(
        Angles("mean", "mean over hidden layers", of=HIDDEN, mean=True),
        Angles(
            "layers", "first, middle and last hidden layers", of="update hidden1.*,update block4.*.weight,update block8.*.weight"
        ),
        Curves("errors", "test error", "test_error", log=True),
    ),
)
