"""rec-LRA's table of gaps 1 to 6 (Ororbia, Mali, Kifer, Giles 2023): ResNet-18 with pseudo-convolution on CIFAR-10.

Results go to examples/reproduce/results; `--seeds`, `--cases` and `--epochs` choose less, `--data-folder` says where the images lie.
It has not been run.
"""

import sys

from runtime.cli import app

if __name__ == "__main__":
    app(["reproduce", "rec_lra_gap", "--seeds", "0,1,2,3,4,5,6,7,8,9", "--threads", "1", *sys.argv[1:]])
