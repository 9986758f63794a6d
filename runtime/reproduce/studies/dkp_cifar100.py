"""DKP's table on CIFAR-100: AlexNet with batch normalisation."""

from runtime.reproduce.studies.dkp_recipe import cases
from runtime.reproduce.study import Curves, Study

ACCURACIES = {"bp": 65.88, "fa": 19.49, "dfa": 48.03, "drtp": 5.84, "kp": 66.78, "dkp": 52.62}

STUDY = Study(
    name="dkp_cifar100",
    title="DKP: CIFAR-100",
    paper="Learning the Connections in Direct Feedback Alignment, table of CIFAR-100, AlexNet (accuracies there, errors here)",
    text=(
        "AlexNet with batch normalisation in the recipe of `dkp_fashion`; `dkp_alexnet` says how it was fitted to 32x32 images. "
        "`--data-folder` names the folder of the original binary files."
    ),
    cases=cases(ACCURACIES, "dkp_alexnet", "cifar100"),
    figures=(Curves("errors", "test error", "test_error"),),
)
