"""rec-LRA's figure of angles (Ororbia, Mali, Kifer, Giles 2023): a residual MLP on MNIST, five algorithms.

Results go to examples/reproduce/results; `--seeds`, `--cases` and `--epochs` choose less, `--data-folder` says where the images lie.
An epoch took 17 to 32 s a row on a core shared with other work, so that 100 epochs of a row and seed take up to an hour.
"""

import sys

from runtime.cli import app

if __name__ == "__main__":
    app(["reproduce", "rec_lra_angles", "--seeds", "0,1,2,3,4,5,6,7,8,9", "--threads", "1", *sys.argv[1:]])
