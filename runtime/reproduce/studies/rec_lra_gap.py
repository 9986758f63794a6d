"""rec-LRA's table of gaps: how many layers a skip-error edge jumps (rec-LRA 2023, appendix)."""

from runtime.reproduce.study import Case, Study

PUBLISHED = {1: 13.98, 2: 6.12, 3: 9.58, 4: 11.28, 5: 12.58, 6: 10.08}
OPTIONS = "beta=0.1205,gamma=0.1524,elastic=true,plasticity=displacement,sites.exclude=*.rectifier"


def _case(gap: int) -> Case:
    return Case(
        name=f"gap{gap}",
        wiring=f"rec_lra:gap={gap},{OPTIONS}",
        model="rec_lra_resnet18:layer=pseudo_conv",
        data="cifar10",
        optimizer="adamw:lr=1e-3",
        error_optimizer="adamw:lr=1e-4",
        batch_size=50,
        epochs=100,
        published={"test_error": PUBLISHED[gap]},
    )


STUDY = Study(
    name="rec_lra_gap",
    title="rec-LRA: the gap of skip-error edges",
    paper="Ororbia, Mali, Kifer and Giles (2023): table of gaps on CIFAR-10, validation errors",
    text=(
        "Every g-th site, counted from the input, hears the output, the others the sites that read them. The paper labels the network a CNN, but 6.12 "
        "is its ResNet-18's figure with pseudo-convolution, while its CNN has 33 to 35: that ResNet-18 is taken, in the recipe of "
        "`rec_lra_pseudo_convolution`. Gap 1 is pairwise, as the paper's appendix has it."
    ),
    cases=tuple(map(_case, PUBLISHED)),
)
