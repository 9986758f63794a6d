"""rec-LRA's table 1 (Ororbia, Mali, Kifer, Giles 2023): MLPs on MNIST and Fashion-MNIST, nine rows on each, up to 500 epochs.

Results go to examples/reproduce/results; `--seeds`, `--cases` and `--epochs` choose less, `--data-folder` says where the images lie.
An epoch took 5 to 16 s on a row's average, on a core shared with other work: 500 epochs of a row and seed take one to two hours.
"""

import sys

from runtime.cli import app

if __name__ == "__main__":
    app(["reproduce", "rec_lra_mlp", "--seeds", "0,1,2,3,4,5,6,7,8,9", "--threads", "1", *sys.argv[1:]])
