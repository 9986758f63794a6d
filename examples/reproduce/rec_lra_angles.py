"""rec-LRA's figure of angles (Ororbia, Mali, Kifer, Giles 2023): a residual MLP on MNIST, five algorithms.

Results go to examples/reproduce/results; `--seeds`, `--cases` and `--epochs` choose less, `--data-folder` says where the images lie.
An epoch took 10 to 13 s on a row's average, on a core shared with other work: 100 epochs of a row and seed take about 20 minutes.
"""

import sys

from runtime.cli import app

if __name__ == "__main__":
    app(["reproduce", "rec_lra_angles", "--seeds", "0,1,2,3,4,5,6,7,8,9", "--threads", "1", *sys.argv[1:]])
