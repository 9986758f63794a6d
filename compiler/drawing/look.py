"""Colours and lines of a picture; those of wires can be told apart by colour-blind people (Okabe and Ito 2008)."""

from compiler.drawing.diagram import Style

INK, GREY, FORWARD, WHITE = "#222222", "#6b6b6b", "#a3a3a3", "#ffffff"
OTHER = "#882255"
COLOURS = {
    "dense": "#0072b2",
    "sparse": "#56b4e9",
    "pointwise": "#d55e00",
    "kernel": "#e69f00",
    "channelwise": "#999933",
    "mirror (random)": "#009e73",
    "mirror (forward)": "#000000",
    "mirror (sign)": "#cc79a7",
}
DASHES = (4.0, 1.6)  # of what stays as it was drawn
FILLS = {"input": "#f1f1f1", "site": WHITE, "junction": "#f1f1f1", "output": "#e3e9f0"}
FROZEN = "#d9d9d9"
SHADES = ("#e7eef6", "#f2f6fa", "#f8fafc")  # of frames, blocks first


def colour(style: Style) -> str:
    """A wire's colour, by its synapse."""
    return COLOURS.get(style.synapse, OTHER)


def dashed(style: Style) -> bool:
    """Whether a wire's synapse stays as it was drawn; the forward weights themselves do not."""
    return not style.learns and style.synapse != "mirror (forward)"


def shade(depth: int) -> str:
    """A frame's fill, lighter further out."""
    return SHADES[min(depth, len(SHADES) - 1)]
