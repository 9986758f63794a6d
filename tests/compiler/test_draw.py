"""Pictures: what is in each file, that texts do not cover each other and lines no boxes, bytes that repeat, and errors."""

import itertools
import re
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import Bbox

import wiring
from compiler import DrawError, UpdateProgram, compile
from compiler.draw import draw
from compiler.drawing.diagram import INPUT, Diagram, diagram
from compiler.drawing.layout import Layout, lay_out
from compiler.drawing.paint import paint
from compiler.drawing.pen import ruler
from compiler.drawing.routes import link, straight, tapped
from compiler.drawing.strokes import Point, Stroke
from runtime.models import build_model
from tests.architectures import CASES
from wiring.errors import ErrorwireError

SVG = "{http://www.w3.org/2000/svg}"
EDGES = (
    ("output", "relu"),
    ("relu", "layer1.0.relu:2"),
    ("layer1.0.relu:2", "layer1.0.relu"),
    ("output", "layer2.0.relu"),
    ("layer1.0", "layer2.0"),
    ("output", "layer3.0.relu"),
    ("output", "layer3.0"),
)


def by_hand() -> wiring.Wiring:
    """Edges in both directions, under a name that no format takes as it is."""
    edges = tuple(wiring.Edge(source=source, target=target) for source, target in EDGES)
    rule = wiring.Rule(topology=wiring.Explicit(edges=edges), signal="target", synapse=wiring.Sparse(), credit=wiring.Gradient())
    return wiring.Wiring(name='by "hand" & <$eye$>\\', rules=(rule,))


def mixture() -> wiring.Wiring:
    parts = {"layer3.*": wiring.bp(), "layer2.*": wiring.fa(), "layer1.*": wiring.shallow(), "*": wiring.dfa()}
    return wiring.mix(parts)


PROGRAMS: dict[str, tuple[str, Callable[[], wiring.Wiring]]] = {
    "resnet18": ("resnet18:width=4", wiring.rec_lra),
    "preact": ("preact_resnet18:width=4", wiring.lra_e),
    "mlp": ("mlp:width=8", wiring.kp),
    "mixture": ("resnet8:width=4", mixture),
    "by hand": ("resnet8:width=2", by_hand),
    "inception": ("inception", wiring.lra_e),
    "densenet": ("densenet", wiring.fa),
    "two inputs": ("two_inputs", wiring.sdfa),
}


@cache
def program(name: str) -> UpdateProgram:
    model, preset = PROGRAMS[name]
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        if model in CASES:
            case = CASES[model]
            return compile(case.build(), preset(), (case.inputs(), case.labels()), case.loss)
        return compile(build_model(model, (3, 16, 16), 10), preset(), (torch.randn(2, 3, 16, 16), torch.randint(0, 10, (2,))))


@pytest.fixture(params=PROGRAMS)
def any_program(request: pytest.FixtureRequest) -> UpdateProgram:
    return program(request.param)


def points(stroke: Stroke, steps: int = 12) -> Iterator[Point]:
    """Points along a stroke, arcs by de Casteljau's construction."""
    here: Point = (0.0, 0.0)
    for piece in stroke:
        for step in range(1, steps + 1):
            t = step / steps
            row = [*([here] if piece.verb != "M" else []), *piece.points]
            while len(row) > 1:
                row = [(a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])) for a, b in itertools.pairwise(row)]
            yield row[0]
        here = piece.points[-1]


def strokes(shown: Diagram, laid: Layout) -> Iterator[tuple[str, str, Stroke]]:
    yield from ((source, target, link(source, target, laid)) for source, target in shown.links)
    yield from ((wire.source, wire.target, straight(wire, laid, shown)) for wire in laid.cabling.straight)
    yield from ((wire.source, wire.target, stroke) for wire in laid.cabling.tapped for stroke in tapped(wire, laid))


@pytest.mark.parametrize("suffix", [".svg", ".png", ".dot", ".SVG"])
def test_a_file_of_each_kind(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"net{suffix}"
    path.write_text("from before")
    assert draw(program("mlp"), str(path)) == path
    assert path.read_bytes().startswith({".svg": b"<?xml", ".png": b"\x89PNG", ".dot": b"digraph"}[suffix.lower()])
    assert list(tmp_path.iterdir()) == [path]


def test_svg_names_every_site_and_says_who_hears_whom(any_program: UpdateProgram, tmp_path: Path) -> None:
    root = ElementTree.parse(draw(any_program, tmp_path / "net.svg")).getroot()
    texts = {text.text for text in root.iter(f"{SVG}text")}
    errors = any_program.plan.errors
    assert {*errors.sites, "input", "output"} <= texts
    assert any(any_program.wiring.name in str(text) and type(any_program.model).__name__ in str(text) for text in texts)
    titles = [str(title.text) for title in root.iter(f"{SVG}title")]
    for edge in itertools.chain(*errors.edges.values()):
        assert sum(title.startswith(f"{edge.target} hears {edge.source}: ") for title in titles) == 1
    parts = {group.get("id") for group in root.iter(f"{SVG}g")}
    assert {f"error:{edge.source}->{edge.target}" for edge in itertools.chain(*errors.edges.values())} <= parts


def test_dot_has_every_site_and_edge(any_program: UpdateProgram, tmp_path: Path) -> None:
    text = draw(any_program, tmp_path / "net.dot").read_text()
    errors = any_program.plan.errors
    string = r'"((?:[^"\\]|\\.)*)"'
    nodes = re.findall(rf"^ *{string} \[", text, re.MULTILINE)
    assert sorted(nodes) == sorted({INPUT, *(region.name for region in errors.parts.regions.values())})
    wires = re.findall(rf"^ *{string} -> {string} \[color=.*style=dashed, constraint=false.*\];$", text, re.MULTILINE)
    assert sorted(wires) == sorted((e.source, e.target) for e in itertools.chain(*errors.edges.values()))
    bare = re.sub(string, "", text)
    assert bare.count("{") == bare.count("}")
    assert '"' not in bare


def test_forward_links_connect_the_sites_as_the_structure_does(any_program: UpdateProgram) -> None:
    shown, forward = diagram(any_program), any_program.plan.errors.structure.forward
    hidden = {name for name, box in shown.boxes.items() if box.kind == "junction"}
    reached = set()
    for site in forward:
        stack = [target for source, target in shown.links if source == site]
        while stack:
            name = stack.pop()
            if name in hidden:
                stack += [target for source, target in shown.links if source == name]
            else:
                reached.add((site, name))
    assert reached == set(forward.edges)
    assert any(source == INPUT for source, _ in shown.links)


def test_boxes_say_what_their_region_computes() -> None:
    boxes = diagram(program("resnet18")).boxes
    site = boxes["layer2.0.relu:2"]
    assert (site.shape, site.text) == ("8x8x8", "conv 3x3, bn, conv 1x1/2, bn, add \N{RIGHTWARDS ARROW} relu")
    assert boxes["output"].text == "avg pool, linear \N{RIGHTWARDS ARROW} cross_entropy"
    assert boxes[INPUT].shape == "3x16x16"
    assert diagram(program("two inputs")).boxes[INPUT].shape == "3x8x8, 6"
    assert {box.heading for box in diagram(program("densenet")).boxes.values() if box.kind == "junction"} >= {"conv 3x3, cat"}


def test_title_counts_and_caption_names_the_signal() -> None:
    shown = diagram(program("mlp"))
    numbers = program("mlp").report().error_parameters
    assert shown.title == "kp on Sequential"
    assert shown.subtitle == f"3 sites, 3 error edges, {numbers:,} error parameters"
    assert shown.caption[1] == "The output sends its error."
    assert diagram(program("by hand")).caption[1] == "The output sends the target."
    assert diagram(program("two inputs")).caption[1] == "The output sends its error's sign."


def test_styles_tell_synapses_and_learning_apart() -> None:
    labels = {style.label: count for style, count in diagram(program("mixture")).styles.items()}
    assert labels == {"mirror: the forward weights themselves": 2, "mirror (random), fixed": 3, "dense, fixed": 1}
    frozen = [name for name, box in diagram(program("mixture")).boxes.items() if box.frozen]
    assert frozen == ["layer1.0.relu", "layer1.0.relu:2"]


def test_texts_do_not_overlap_and_stay_on_the_sheet(any_program: UpdateProgram) -> None:
    figure = paint(diagram(any_program)).figure
    renderer = FigureCanvasAgg(figure).get_renderer()
    extents = [text.get_window_extent(renderer) for text in figure.axes[0].texts]
    for one, other in itertools.combinations(extents, 2):
        assert not Bbox.intersection(one, other)
    sheet = figure.bbox
    assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= sheet.x1 and box.y1 <= sheet.y1 for box in extents)


def test_texts_fit_their_boxes(any_program: UpdateProgram) -> None:
    pen = paint(diagram(any_program))
    renderer = FigureCanvasAgg(pen.figure).get_renderer()
    boxes = [patch.get_window_extent(renderer) for patch in pen.axes.patches if str(patch.get_gid()).startswith("site:")]
    assert len(boxes) == len(any_program.plan.errors.sites)
    for text in pen.axes.texts:
        extent = text.get_window_extent(renderer)
        around = [box for box in boxes if box.overlaps(extent)]
        assert all(box.x0 <= extent.x0 and extent.x1 <= box.x1 and box.y0 <= extent.y0 and extent.y1 <= box.y1 for box in around)


def test_lines_run_around_boxes_and_end_at_theirs(any_program: UpdateProgram) -> None:
    shown = diagram(any_program)
    laid = lay_out(shown, ruler)
    for source, target, stroke in strokes(shown, laid):
        for x, y in points(stroke):
            for place in laid.places.values():
                assert abs(x - place.x) >= place.width / 2 - 1e-6 or abs(y - place.y) >= place.height / 2 - 1e-6, (source, target)
    for wire in laid.cabling.tapped:
        way, rail = tapped(wire, laid)
        for (x, y), name in ((way[0].points[0], wire.source), (rail[0].points[0], wire.target)):
            place = laid.places[name]
            assert abs(x - place.x) <= place.width / 2 + 1e-6
            assert abs(y - place.y) <= place.height / 2 + 1e-6


def test_trunks_of_different_senders_do_not_share_a_line() -> None:
    shown = diagram(program("inception"))
    laid = lay_out(shown, ruler)
    spans: dict[tuple[int, object], list[float]] = {}
    for wire in laid.cabling.tapped:
        lane = laid.cabling.trunks[wire.source, wire.style]
        way, rail = tapped(wire, laid)
        spans.setdefault((lane, (wire.source, wire.style)), []).extend((way[-2].points[-1][1], rail[-1].points[-1][1]))
    for (lane, port), ys in spans.items():
        for (other_lane, other), others in spans.items():
            assert lane != other_lane or port == other or max(ys) < min(others) or max(others) < min(ys)


def test_frames_hold_their_group_and_nothing_else() -> None:
    shown = diagram(program("resnet18"))
    laid = lay_out(shown, ruler)
    assert [frame.group.name for frame in laid.frames] == [
        *(f"layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1)),
        *(f"layer{stage}" for stage in (1, 2, 3, 4)),
    ]
    for frame in laid.frames:
        inside = {name for name, place in laid.places.items() if frame.top < place.y < frame.bottom}
        assert inside == set(frame.group.members)
        assert all(frame.left < laid.places[name].left and laid.places[name].right < frame.right for name in inside)


@pytest.mark.parametrize("suffix", [".svg", ".png", ".dot"])
def test_the_same_bytes_again_whatever_the_users_settings(suffix: str, tmp_path: Path) -> None:
    first = draw(program("inception"), tmp_path / f"a{suffix}").read_bytes()
    changed = {"font.size": 30, "figure.autolayout": True, "savefig.bbox": "tight", "axes.facecolor": "red", "svg.fonttype": "path"}
    with matplotlib.rc_context(changed):
        before = dict(matplotlib.rcParams)
        assert draw(program("inception"), tmp_path / f"b{suffix}").read_bytes() == first
        assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(("name", "said"), [("net.jpeg", "ends in '.jpeg'"), ("net", "has no suffix")])
def test_another_suffix_is_refused(name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(DrawError, match=rf"{said}.*Use one of: \.svg, \.png, \.dot\.$"):
        draw(program("mlp"), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ErrorwireError, match=r"there is no folder '.*nowhere'\. Make it first\."):
        draw(program("mlp"), tmp_path / "nowhere" / "net.svg")


def test_a_folder_in_the_way_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "net.svg").mkdir()
    with pytest.raises(DrawError, match=r"net\.svg' cannot be written: "):
        draw(program("mlp"), tmp_path / "net.svg")
    assert [path.name for path in tmp_path.iterdir()] == ["net.svg"]
