"""EKDAA's t-SNE figure: the last hidden layer of Fashion-MNIST networks untrained and trained by BP and EKDAA.

Results go to examples/reproduce/results; `--seeds`, `--cases`, `--epochs` and `--limit` choose less, `--data-folder` says where
Fashion-MNIST's files lie. Five epochs of 10000 images took three minutes a row here, two cores shared with others.
"""

import sys

from runtime.cli import app

if __name__ == "__main__":
    app(["reproduce", "ekdaa_tsne", "--seeds", "0", "--threads", "1", *sys.argv[1:]])
