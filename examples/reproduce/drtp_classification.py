"""DRTP's synthetic classification (Frenkel, Lefebvre, Bol 2021): a 256-500-500-10 network, six algorithms, 500 epochs.

Results go to examples/reproduce/results; `--seeds`, `--cases` and `--epochs` choose less. The steps of one seed of all cases took 35 to 38
minutes on a core of a shared machine.
"""

import sys

from runtime.cli import app

if __name__ == "__main__":
    app(["reproduce", "drtp_classification", "--seeds", "0,1,2,3,4,5,6,7,8,9", "--threads", "1", *sys.argv[1:]])
