"""DKP's figure of alignment: what learning the direct connections does to them."""

from dataclasses import replace

from runtime.reproduce.studies.dkp_recipe import case
from runtime.reproduce.study import Angles, Study

STUDY = Study(
    name="dkp_alignment",
    title="DKP: alignment with the output",
    paper="Learning the Connections in Direct Feedback Alignment, figure of the angle between z B^T and the output's pre-activation",
    text=(
        "The network and recipe of `dkp_fashion`. A site's matrix B, turned round, maps its activity z to the outputs; the angle between "
        "z B^T and the output's pre-activation, over 500 test images in evaluation mode, tells how well B stands for the forward path "
        "behind the site. The paper's angles fall with training under DKP, far less under DFA, and most at late layers. Seed 0 starts at 92, 84 "
        "and 80 degrees."
    ),
    cases=tuple(
        replace(case(name, "dkp_cnn", "fashion-mnist"), angles_every=1, measurement="output_angles") for name in ("dfa", "dkp")
    ),
    figures=(Angles("angles", "angles at the hidden layers", label="angle of z B^T to the output\n(90° is chance)"),),
)
