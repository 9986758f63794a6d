"""DKP's table 1 on Fashion-MNIST, network of two convolutions: six algorithms, and BP with frozen convolutions.

Results go to examples/reproduce/results; `--seeds`, `--cases`, `--epochs` and `--limit` choose less, `--data-folder` says where
Fashion-MNIST's files lie. Five epochs of 10000 images took one to three minutes a row here, two cores shared with others.
"""

import sys

from runtime.cli import app

if __name__ == "__main__":
    app(["reproduce", "dkp_fashion", "--seeds", "0,1,2,3,4,5,6,7,8,9", "--threads", "1", *sys.argv[1:]])
