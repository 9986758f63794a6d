"""What rec-LRA's signum row depends on: wiring, beta, scale, rate and decay of E, one changed at a time, on MNIST.

Results go to examples/reproduce/results; `--seeds`, `--cases` and `--epochs` choose less, `--data-folder` says where the images lie.
"""

import sys

from runtime.cli import app

if __name__ == "__main__":
    app(["reproduce", "rec_lra_signum", "--seeds", "0", "--threads", "1", *sys.argv[1:]])
