"""rec-LRA's ResNet-18 with convolution and pseudo-convolution (Ororbia, Mali, Kifer, Giles 2023): CIFAR-10 and Fashion-MNIST.

Results go to examples/reproduce/results; `--seeds`, `--cases` and `--epochs` choose less, `--data-folder` says where the images lie.
4000 images of Fashion-MNIST took 12 to 18 s a row on a core shared with other work; CIFAR-10 at full width has not been run.
"""

import sys

from runtime.cli import app

if __name__ == "__main__":
    app(["reproduce", "rec_lra_pseudo_convolution", "--seeds", "0,1,2,3,4,5,6,7,8,9", "--threads", "1", *sys.argv[1:]])
