"""The picture of an embedding: test images as dots in the plane, coloured by label, axes side by side for networks."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from runtime.plots import COLOURS, GREY
from runtime.reproduce.results import Result
from runtime.reproduce.study import Embedding, Study

Columns = Mapping[str, Sequence[float]]
HUES = (*COLOURS, GREY)


def scatter(study: Study, picture: Embedding, shown: Mapping[str, Sequence[Result]]) -> Figure | None:
    """The first case's network untrained, which is every case's, then each case's trained one, of the first seed each has."""
    found: dict[str, Columns] = {name: results[0].embedding for name, results in shown.items() if results[0].embedding}
    if not found:
        return None
    panels = [
        ("untrained", "untrained", next(iter(found.values()))),
        *((name, "trained", columns) for name, columns in found.items()),
    ]
    figure = Figure(figsize=(1.2 + 3.6 * len(panels), 4.0), layout="constrained")
    row: list[Axes] = list(figure.subplots(1, len(panels), squeeze=False)[0])
    for axes, (title, when, columns) in zip(row, panels, strict=True):
        hues = [HUES[int(label) % len(HUES)] for label in columns["label"]]
        axes.scatter(columns[f"x {when}"], columns[f"y {when}"], c=hues, s=5, linewidths=0)
        axes.set_title(title, fontsize=10)
        axes.set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")
    labels = sorted({int(label) for label in panels[0][2]["label"]})
    dots = [Line2D([], [], color=HUES[label % len(HUES)], marker="o", linestyle="", label=str(label)) for label in labels]
    row[-1].legend(handles=dots, title="class", loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False)
    figure.suptitle(f"{study.title}, {picture.title}", fontsize=11)
    return figure
