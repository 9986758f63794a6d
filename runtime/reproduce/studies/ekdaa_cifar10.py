"""EKDAA's table on CIFAR-10."""

from dataclasses import replace

from runtime.reproduce.studies import ekdaa_fashion
from runtime.reproduce.study import Case, Curves, Study

ACCURACIES = {"bp": 71.08, "fa": 58.80, "dfa": 60.50, "drtp": 58.20, "ekdaa": 63.38, "ekdaa_signum": 59.71}
SIGNUM = ekdaa_fashion.signum(3, 64, 64, 64, 128, 128, 128)


def _case(fashion: Case) -> Case:
    return replace(
        fashion,
        wiring=SIGNUM if fashion.name == "ekdaa_signum" else fashion.wiring,
        model=fashion.model.replace("ekdaa_fashion", "ekdaa_cifar"),
        data="cifar10",
        published={"test_error": round(100 - ACCURACIES[fashion.name], 2)},
    )


STUDY = Study(
    name="ekdaa_cifar10",
    title="EKDAA: CIFAR-10",
    paper="A Robust Backpropagation-Free Framework for Images, table of CIFAR-10 (accuracies there, errors here)",
    text=(
        "Six convolutions of 64, 64, 64, 128, 128 and 128 channels, pooled in pairs, and 128 fully connected tanh units, trained as in "
        "`ekdaa_fashion`; `--data-folder` names the folder of the original files."
    ),
    cases=tuple(map(_case, ekdaa_fashion.STUDY.fitting(",".join(ACCURACIES)))),
    figures=(Curves("errors", "test error", "test_error"),),
)
