"""EKDAA's t-SNE figure: what the last hidden layer answers to test images."""

from dataclasses import replace

from runtime.reproduce.studies import ekdaa_fashion
from runtime.reproduce.study import Embedding, Study

STUDY = Study(
    name="ekdaa_tsne",
    title="EKDAA: t-SNE of the last hidden layer",
    paper="A Robust Backpropagation-Free Framework for Images, figure of t-SNE embeddings",
    text=(
        "The network and recipe of `ekdaa_fashion`. The activity of the 128 units of the last hidden layer on the first 1000 test images, "
        "embedded in the plane before training and behind the last epoch (scikit-learn's t-SNE, perplexity 30, started at the "
        "principal components)."
    ),
    cases=tuple(replace(case, embedded="act4", published={}) for case in ekdaa_fashion.STUDY.fitting("bp,ekdaa")),
    figures=(Embedding("planes", "activity on 1000 test images"),),
)
