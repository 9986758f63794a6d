"""DKP's table 1 on CIFAR-10: the network of two convolutions."""

from runtime.reproduce.studies.dkp_recipe import cases
from runtime.reproduce.study import Curves, Study

ACCURACIES = {"bp": 70.70, "fa": 60.45, "dfa": 62.70, "drtp": 55.32, "kp": 70.08, "dkp": 64.69}

STUDY = Study(
    name="dkp_cifar10",
    title="DKP: CIFAR-10",
    paper="Learning the Connections in Direct Feedback Alignment, table 1, network of two convolutions (accuracies there, errors here)",
    text=(
        "The recipe of `dkp_fashion`, with convolutions that do not pad: 6272 numbers go into the fully connected layer, as the paper "
        "prints, which its padded convolutions would not give on 32x32 images. `--data-folder` names the folder of the original files."
    ),
    cases=cases(ACCURACIES, "dkp_cnn:padding=false", "cifar10"),
    figures=(Curves("errors", "test error", "test_error"),),
)
