"""EKDAA's network on SVHN."""

from dataclasses import replace

from runtime.reproduce.studies import ekdaa_cifar10
from runtime.reproduce.study import Curves, Study

STUDY = Study(
    name="ekdaa_svhn",
    title="EKDAA: SVHN",
    paper="A Robust Backpropagation-Free Framework for Images, SVHN; its figures are not known here",
    text="The network and the recipe of `ekdaa_cifar10`; `--data-folder` names the folder of the original Matlab files.",
    cases=tuple(replace(each, data="svhn", published={}) for each in ekdaa_cifar10.STUDY.cases),
    figures=(Curves("errors", "test error", "test_error"),),
)
