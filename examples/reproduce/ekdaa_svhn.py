"""EKDAA's network on SVHN: six algorithms.

Results go to examples/reproduce/results; `--seeds`, `--cases`, `--epochs` and `--limit` choose less, `--data-folder` says where
SVHN's files lie.
"""

import sys

from runtime.cli import app

if __name__ == "__main__":
    app(["reproduce", "ekdaa_svhn", "--seeds", "0,1,2,3,4,5,6,7,8,9", "--threads", "1", *sys.argv[1:]])
