"""rec-LRA's pseudo-convolution: ResNet-18 with it and with convolutions, by BP and by rec-LRA (rec-LRA 2020, 2023)."""

from runtime.reproduce.study import Case, Curves, Study

PUBLISHED = {"conv-bp": 6.22, "conv-rec_lra": 7.00, "pseudo_conv-bp": 5.94, "pseudo_conv-rec_lra": 6.42}
REC_LRA = "rec_lra:depth=2,beta=0.1205,gamma=0.1524,elastic=true,plasticity=displacement"
INSIDE = {"conv": "", "pseudo_conv": "sites.exclude=*.rectifier"}  # the ReLU inside a pseudo-convolution is no site
NETWORKS = {"cifar10": 64, "fashion": 16}
DATA = {"cifar10": "cifar10", "fashion": "fashion-mnist"}


def wiring_of(algorithm: str, layer: str) -> str:
    """The text of a row's wiring."""
    separator = "," if ":" in algorithm else ":"
    return f"{algorithm}{separator}{INSIDE[layer]}" if INSIDE[layer] else algorithm


def _case(data: str, row: str) -> Case:
    layer, algorithm = row.split("-")
    return Case(
        name=f"{data}-{row}",
        wiring=wiring_of({"bp": "bp", "rec_lra": REC_LRA}[algorithm], layer),
        model=f"rec_lra_resnet18:layer={layer},width={NETWORKS[data]}",
        data=DATA[data],
        optimizer="adamw:lr=1e-3",
        error_optimizer="adamw:lr=1e-4",
        batch_size=50,
        epochs=100,
        published={"test_error": PUBLISHED[row]} if data == "cifar10" else {},
    )


STUDY = Study(
    name="rec_lra_pseudo_convolution",
    title="rec-LRA: convolution and pseudo-convolution",
    paper="Ororbia, Mali, Kifer and Giles (2023): table of ResNet-18 on CIFAR-10, test errors; the version of 2020 has 6.12 for the last row",
    text=(
        "ResNet-18 with batch norm, and the same with a pseudo-convolution (fixed noise maps, a rectifier and a learned mixture of channels) in "
        "the place of each 3x3 convolution inside a block, by BP and by rec-LRA of depth 2 with beta 0.1205, gamma 0.1524, the elastic error and "
        "the displacement-Hebbian rule, under AdamW. Not known here and so ours are the rates (torch's 1e-3, and 1e-4 for error synapses, since "
        "the displacement rule feeds back on itself), batches of 50, 100 epochs, one noise map a channel with deviation 0.1, and the synapses "
        "inside a block, which are pointwise. The rows on Fashion-MNIST are no table of the paper's: a quarter of the width, 16 channels in front."
    ),
    cases=tuple(_case(data, row) for data in DATA for row in PUBLISHED),
    figures=tuple(
        Curves(layer, f"test error on Fashion-MNIST with {layer}", "test_error", f"fashion-{layer}-*") for layer in INSIDE
    ),
)
