"""DRTP's MNIST study (Frenkel, Lefebvre, Bol 2021): six networks, three rates of dropout, six algorithms, 100 epochs.

Results go to examples/reproduce/results; `--seeds`, `--cases` and `--epochs` choose less, `--data-folder` says where MNIST's files
lie. On a core of a busy machine an epoch of 10000 images took 0.4 seconds (`fc1_500-shallow`) to 74 (`conv_trained-bp`) on a row's average.
"""

import sys

from runtime.cli import app

if __name__ == "__main__":
    app(["reproduce", "drtp_mnist", "--seeds", "0,1,2,3,4,5,6,7,8,9", "--threads", "1", *sys.argv[1:]])
