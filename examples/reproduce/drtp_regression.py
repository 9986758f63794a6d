"""DRTP's synthetic regression (Frenkel, Lefebvre, Bol 2021): a 256-100-100-10 network, five algorithms, 500 epochs.

Results go to examples/reproduce/results; `--seeds`, `--cases` and `--epochs` choose less. One seed of all cases took 3 to 9 minutes on
a core of a shared machine.
"""

import sys

from runtime.cli import app

if __name__ == "__main__":
    app(["reproduce", "drtp_regression", "--seeds", "0,1,2,3,4,5,6,7,8,9", "--threads", "1", *sys.argv[1:]])
