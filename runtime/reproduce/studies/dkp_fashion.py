"""DKP's table 1 on Fashion-MNIST: the network of two convolutions."""

from runtime.reproduce.studies.dkp_recipe import ROWS, case
from runtime.reproduce.study import Case, Curves, Study

ACCURACIES = {"bp": 92.18, "fa": 91.12, "dfa": 91.54, "drtp": 89.58, "kp": 91.25, "dkp": 91.66}


def _case(name: str) -> Case:
    return case(name, "dkp_cnn", "fashion-mnist", ACCURACIES.get(name))


STUDY = Study(
    name="dkp_fashion",
    title="DKP: Fashion-MNIST",
    paper="Learning the Connections in Direct Feedback Alignment, table 1, network of two convolutions (accuracies there, errors here)",
    text=(
        "Two padded 3x3 convolutions of 32 channels, pooling, and 128 fully connected units, batch norm before every ReLU. Forward "
        "weights learn by SGD with Nesterov momentum 0.9 at rate 1e-2, DKP's matrices alike at 1e-4, times 0.85 every epoch; weight "
        "decay is 1e-6 on both, and matrices start uniform after Kaiming. Under KP both have the forward rate, which is Kolen and "
        "Pollack's own condition. Batches of 50 and 100 epochs are the released code's. In `bp_dense` the convolutions and their batch "
        "norms keep their first weights, and only fully connected layers learn, by backpropagation."
    ),
    cases=tuple(map(_case, ROWS)),
    figures=(Curves("errors", "test error", "test_error"), Curves("training", "training error, while learning", "train_error")),
)
