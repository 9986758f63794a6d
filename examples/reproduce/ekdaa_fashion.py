"""EKDAA's table 2 on Fashion-MNIST: six algorithms, signum units, and what the paper's text leaves open.

Results go to examples/reproduce/results; `--seeds`, `--cases`, `--epochs` and `--limit` choose less, `--data-folder` says where
Fashion-MNIST's files lie. Five epochs of 10000 images took 40 seconds to four minutes a row here, two cores shared with others.
"""

import sys

from runtime.cli import app

if __name__ == "__main__":
    app(["reproduce", "ekdaa_fashion", "--seeds", "0,1,2,3,4,5,6,7,8,9", "--threads", "1", *sys.argv[1:]])
