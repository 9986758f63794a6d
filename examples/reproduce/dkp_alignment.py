"""DKP's figure of alignment: the angle between z B^T and the output under DFA and DKP on Fashion-MNIST.

Results go to examples/reproduce/results; `--seeds`, `--cases`, `--epochs` and `--limit` choose less, `--data-folder` says where
Fashion-MNIST's files lie. Ten epochs of 10000 images took 4.5 minutes a row here, two cores shared with others.
"""

import sys

from runtime.cli import app

if __name__ == "__main__":
    app(["reproduce", "dkp_alignment", "--seeds", "0,1,2,3,4,5,6,7,8,9", "--threads", "1", *sys.argv[1:]])
