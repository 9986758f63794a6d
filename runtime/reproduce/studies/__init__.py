"""The studies by name, a file each."""

from runtime.reproduce.studies import (
    dkp_alignment,
    dkp_cifar10,
    dkp_cifar100,
    dkp_fashion,
    drtp_classification,
    drtp_mnist,
    drtp_regression,
    ekdaa_cifar10,
    ekdaa_fashion,
    ekdaa_svhn,
    ekdaa_tsne,
    rec_lra_angles,
    rec_lra_convergence,
    rec_lra_gap,
    rec_lra_mlp,
    rec_lra_pseudo_convolution,
    rec_lra_signum,
)
from runtime.reproduce.study import Study

STUDIES: dict[str, Study] = {
    study.name: study
    for study in (
        drtp_regression.STUDY,
        drtp_classification.STUDY,
        drtp_mnist.STUDY,
        ekdaa_fashion.STUDY,
        ekdaa_cifar10.STUDY,
        ekdaa_svhn.STUDY,
        ekdaa_tsne.STUDY,
        dkp_fashion.STUDY,
        dkp_cifar10.STUDY,
        dkp_cifar100.STUDY,
        dkp_alignment.STUDY,
        rec_lra_mlp.STUDY,
        rec_lra_signum.STUDY,
        rec_lra_convergence.STUDY,
        rec_lra_angles.STUDY,
        rec_lra_pseudo_convolution.STUDY,
        rec_lra_gap.STUDY,
    )
}
