"""A page in headless Chromium: everything is there to be seen, says what it should when pointed at, and asks no network."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from compiler import compile
from runtime.metrics import EpochMetrics, History, Measured
from runtime.models import build_model
from runtime.page.document import write_page
from runtime.page.record import Shown
from runtime.watching import ANGLE, SYNAPSE, WEIGHT
from wiring import rec_lra

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright for Python is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip("no Chromium is found on the path", allow_module_level=True)

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
SITES = ("relu", "layer1.0.relu", "layer1.0.relu:2", "layer2.0.relu", "layer2.0.relu:2", "layer3.0.relu", "layer3.0.relu:2")
EPOCHS = 4


def angle(site: str, epoch: int) -> float:
    return 100.0 - 10 * epoch + SITES.index(site)


def run(name: str, **options: Any) -> Shown:
    """A run that was never made, whose numbers are easy to know again."""
    rows = tuple(
        EpochMetrics(epoch, 10 * epoch, 2.0 / epoch, 0.2 * epoch, 1.0 / epoch, 3.0 / epoch, 0.125 * epoch, 1e-3, 0.5, 100.0)
        for epoch in range(1, EPOCHS + 1)
    )
    measured = tuple(
        Measured(
            epoch,
            {ANGLE + site: angle(site, epoch) for site in SITES}
            | {f"{WEIGHT}{site}.weight": 1.0 + epoch for site in SITES}
            | {f"{SYNAPSE}output->{site}": 2.0 + epoch for site in SITES},
        )
        for epoch in range(EPOCHS + 1)
    )
    settings = {"model": "resnet8:width=2", "wiring": "rec_lra", "data": "digits", "limit": None, "standardise": True, "seed": 0}
    return Shown(name, options={**settings, **options}, history=History(rows, measured), versions={"torch": "2"})


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The page of three runs, one of them without a program, in one browser; and what went wrong while it was open."""
    torch.manual_seed(0)
    model = build_model("resnet8:width=2", (1, 8, 8), 10)
    program = compile(model, rec_lra(), (torch.randn(4, 1, 8, 8), torch.arange(4)))
    path = tmp_path_factory.mktemp("page") / "report.html"
    runs = [run("first"), run("second <b>", seed=1), run("third", wiring="bp")]
    write_page(path, runs, {"first": program, "second <b>": program})
    with sync_api.sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(tmp_path_factory.mktemp("profile")), executable_path=CHROMIUM, headless=True, args=ARGUMENTS,
            viewport={"width": 1200, "height": 900}, color_scheme="light",
        )  # fmt: skip
        page, wrong = context.new_page(), []
        page.set_default_timeout(20_000)
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: None if request.url == path.as_uri() else wrong.append(request.url))
        page.goto(path.as_uri())
        yield page
        context.close()
    assert wrong == []


def text(tab: Any, selector: str) -> str:
    found: str = tab.inner_text(selector)
    return found


def test_every_section_is_there_to_be_seen(tab: Any) -> None:
    for section in ("overview", "curves", "wiring", "sites", "schedule", "alignment", "norms", "options"):
        assert tab.locator(f"#{section} h2").is_visible()
        assert tab.locator(f"#{section} .body").bounding_box()["height"] > 30
    assert text(tab, "h1") == "rec_lra, bp on resnet8:width=2"
    assert tab.locator(".note").count() == 0
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_runs_stand_beside_each_other_with_final_figures_and_what_differs(tab: Any) -> None:
    table = tab.locator("#overview table")
    assert table.locator("tbody tr").count() == 3
    assert table.locator("thead th").last.inner_text() == "seed"
    first = table.locator("tbody tr").nth(1).inner_text()
    assert "second <b>" in first
    assert "50.00 %" in first
    for chart in range(3):
        assert tab.locator("#curves svg .curve, #curves svg").nth(chart).is_visible()
    assert tab.locator("#curves [data-series='second <b>, test'] path").count() == 2


def test_a_run_can_be_left_out_of_the_curves(tab: Any) -> None:
    box = tab.locator("#curves .legend input").nth(2)
    lines = sync_api.expect(tab.locator("#curves [data-series='third, test']"))
    box.uncheck()
    lines.to_have_count(0)
    box.check()
    lines.to_have_count(2)


def test_curves_say_their_numbers(tab: Any) -> None:
    area = tab.locator("#curves .area").first
    area.hover(position={"x": area.bounding_box()["width"] - 2, "y": 20})
    assert "epoch 4" in text(tab, "#tip")
    assert "0.75" in text(tab, "#tip")


def test_pointing_at_a_site_shows_shapes_and_formulas(tab: Any) -> None:
    tab.hover("[data-name='layer2.0.relu']")
    panel = text(tab, ".panel")
    assert "layer2.0.conv1.weight 4×2×3×3" in panel
    assert "Hears layer2.0.relu:2" in panel
    assert "y = phi(h - beta d)" in panel
    assert "Error synapse of shape 4×4" in panel
    assert f"{angle('layer2.0.relu', EPOCHS):.1f}° behind epoch {EPOCHS}" in panel
    assert tab.locator(".error.on").count() == 1
    assert tab.locator(".box.sends").get_attribute("data-name") == "layer2.0.relu:2"


def test_a_site_is_reached_by_keyboard_and_by_its_name(tab: Any) -> None:
    tab.focus("[data-name='relu']")
    assert text(tab, ".panel h3") == "relu"
    tab.fill("#wiring input[type=search]", "layer3.0.relu")
    tab.keyboard.press("Enter")
    assert text(tab, ".panel h3") == "layer3.0.relu"
    tab.focus("[data-name='layer3.0.relu']")
    tab.keyboard.press("Escape")
    assert text(tab, ".panel h3").startswith("rec_lra on")


def test_zooming_and_folding_change_the_picture(tab: Any) -> None:
    def width() -> float:
        return float(tab.locator(".port svg").bounding_box()["width"])

    before = width()
    tab.click("[aria-label='Larger']")
    assert width() == pytest.approx(1.25 * before, rel=0.01)
    tab.click("[aria-label='Show the whole picture']")
    assert tab.evaluate("(p => p.scrollHeight <= p.clientHeight + 1)(document.querySelector('.port'))")
    assert tab.locator(".port .box").count() == 2 + len(SITES)
    tab.click("#wiring [data-value='blocks']")
    assert tab.locator(".port .box").count() == 2 + 4
    tab.hover("[data-name='layer1.0']")
    assert "Sites inside" in text(tab, ".panel")
    tab.click("#wiring [data-value='sites']")


def test_lanes_on_one_two_and_four_streams(tab: Any) -> None:
    for streams in (1, 2, 4):
        tab.click(f"#schedule [data-value='{streams}']")
        sync_api.expect(tab.locator("#schedule .names div")).to_have_count(streams)
    bars = tab.locator("#schedule .task")
    assert bars.count() > 20
    bars.nth(2).hover()
    assert "takes" in text(tab, "#tip")
    assert "waits for" in text(tab, "#tip")


def test_the_heat_map_has_every_angle(tab: Any) -> None:
    cells = tab.locator("#alignment .heat.chart").first.locator(".cell")
    found = cells.evaluate_all("all => all.map(each => [each.dataset.site, Number(each.dataset.angle)])")
    assert found == [[site, angle(site, epoch)] for site in SITES for epoch in range(EPOCHS + 1)]
    cells.first.hover()
    assert "100.0°" in text(tab, "#tip")
    assert "would not lower the loss" in text(tab, "#tip")
    tab.locator("#alignment summary").first.click()
    row = tab.locator("#alignment details").first.locator("tbody tr").first
    assert row.inner_text().split("\t") == ["relu", *(f"{angle('relu', epoch):.1f}°" for epoch in range(EPOCHS + 1))]


def test_norms_name_the_line_that_is_pointed_at(tab: Any) -> None:
    area = tab.locator("#norms .area").first
    area.hover(position={"x": 2, "y": 100})
    assert "epoch 0" in text(tab, "#tip")
    assert ".weight" in text(tab, "#tip")
    tab.click("#norms [data-value='relative']")
    assert "over the first norm" in text(tab, "#norms h3")


def test_another_run_can_be_looked_at_and_one_without_a_program_says_why(tab: Any) -> None:
    tab.select_option("#run", label="third")
    assert "did not write down what the data look like" in text(tab, "#wiring .note")
    assert text(tab, "#options h2") == "Options of third"
    assert "--wiring bp" in text(tab, "#options pre")
    tab.select_option("#run", label="first")
    assert tab.locator(".port svg").is_visible()


def contrast(one: str, other: str) -> float:
    """WCAG 2.1's ratio of two ``rgb(r, g, b)``."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in colour[4:-1].split(",")]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_both_themes_can_be_read(tab: Any) -> None:
    seen = []
    for _ in range(2):
        style = "name => getComputedStyle(document.querySelector(name))"
        page = tab.evaluate(f"({style})('body').backgroundColor")
        seen.append(page)
        for selector in ("body", ".lead", "#nav a", "#foot", "summary", ".panel p", "thead th"):
            assert contrast(tab.evaluate(f"({style})('{selector}').color"), page) >= 4.5, selector
        for name in (*(f"--run-{place}" for place in range(8)), "--wire-dense", "--wire-pointwise", "--wire-kernel", "--forward"):
            colour = tab.evaluate(
                "name => { const probe = document.createElement('i'); probe.style.color = `var(${name})`; document.body.append(probe); "
                "const found = getComputedStyle(probe).color; probe.remove(); return found; }", name
            )  # fmt: skip
            assert contrast(colour, page) >= 3.0, name
        tab.click("#theme")
    assert len(set(seen)) == 2


def test_a_narrow_window_scrolls_in_one_direction_only(tab: Any) -> None:
    tab.set_viewport_size({"width": 400, "height": 800})
    for _ in range(200):  # wait_for_function would ask inside the page, whose policy forbids it to evaluate strings
        if tab.evaluate("() => document.documentElement.scrollWidth") == 400:
            break
        tab.wait_for_timeout(50)
    assert tab.evaluate("() => document.documentElement.scrollWidth") == 400
    tab.set_viewport_size({"width": 1200, "height": 900})
