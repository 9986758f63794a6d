"""The algorithms of the papers, a file each."""

from wiring.presets.bp import bp
from wiring.presets.dfa import dfa
from wiring.presets.dkp import dkp
from wiring.presets.drtp import drtp
from wiring.presets.ekdaa import ekdaa
from wiring.presets.fa import fa
from wiring.presets.kp import kp
from wiring.presets.lra_e import lra_e
from wiring.presets.rec_lra import rec_lra
from wiring.presets.sdfa import sdfa
from wiring.presets.shallow import shallow
from wiring.presets.sign_symmetry import sign_symmetry
from wiring.presets.sparse_dfa import sparse_dfa
from wiring.presets.weight_mirror import weight_mirror

__all__ = [
    "bp",
    "dfa",
    "dkp",
    "drtp",
    "ekdaa",
    "fa",
    "kp",
    "lra_e",
    "rec_lra",
    "sdfa",
    "shallow",
    "sign_symmetry",
    "sparse_dfa",
    "weight_mirror",
]
