"""Words and presets of installed distributions: found by entry points, and broken ones named without stopping others."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from wiring import PRESETS, InvalidWiring, OptionError, PluginWarning, Wiring, all_presets, dfa, parse_wiring, preset
from wiring.plugins import load_plugins
from wiring.spec import Credit

ROOT = Path(__file__).parents[2]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder as pip leaves it, in front of the others; what comes from it is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    before, modules = dict(PRESETS), set(sys.modules)
    load_plugins.cache_clear()
    yield tmp_path
    load_plugins.cache_clear()
    PRESETS.clear()
    PRESETS.update(before)
    for name in {name for name in sys.modules if name.startswith("plug_")} - modules:
        del sys.modules[name]


def install(site: Path, name: str, text: str, module: str = "") -> None:
    """A distribution of one module with one entry point, as its metadata lies in a folder of packages."""
    module = module or f"plug_{name}"
    (site / f"{module}.py").write_text(text, encoding="utf-8")
    info = site / f"{name}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[errorwire]\n{name} = {module}\n", encoding="utf-8")


PRESET = '''
from wiring import dfa, preset

@preset
def {name}(kappa: float = 1.0):
    """A preset of a plug-in."""
    return dfa(kappa=kappa).but(name="{name}")
'''
WORD = """
from typing import Literal
from wiring.spec import Credit

class Mine(Credit):
    kind: Literal["{kind}"] = "{kind}"
"""


def test_a_preset_of_a_plugin_is_found_by_its_name(site: Path) -> None:
    install(site, "tuned", PRESET.format(name="tuned_dfa"))
    assert "tuned_dfa" not in PRESETS
    assert parse_wiring("tuned_dfa:kappa=2").name == "tuned_dfa"
    assert "tuned_dfa" in all_presets()


def test_a_word_of_a_plugin_is_found_by_its_kind(site: Path) -> None:
    install(site, "worded", WORD.format(kind="worded"))
    text = dfa().to_json().replace('"kind": "gradient"', '"kind": "worded"').replace('"surrogate": null,', "")
    text = text.replace('"kappa": 1.0', "").replace('"worded",', '"worded"')
    assert "worded" not in Credit.words()
    wiring = Wiring.from_json(text)
    assert wiring.rules[0].credit.kind == "worded"
    assert Wiring.from_json(wiring.to_json()) == wiring


def test_a_broken_plugin_is_named_and_stops_no_other(site: Path) -> None:
    install(site, "broken", "import there_is_no_such_module")
    install(site, "whole", PRESET.format(name="whole_dfa"))
    told = r"Plug-in 'broken' \(plug_broken\) of distribution 'broken' 1.2 cannot be loaded: ModuleNotFoundError"
    with pytest.warns(PluginWarning, match=told):
        assert parse_wiring("whole_dfa").name == "whole_dfa"
    with pytest.raises(OptionError, match=f"No preset is called 'nothing'.*{told}.*Mend or uninstall it"):
        parse_wiring("nothing")
    with pytest.raises(InvalidWiring, match=f"unknown topology 'nowhere'.*{told}"):
        dfa().but(topology__kind="nowhere")


def test_a_plugin_takes_no_name_that_is_there(site: Path) -> None:
    install(site, "greedy", PRESET.format(name="dfa"))
    with pytest.warns(PluginWarning, match="A preset is called 'dfa' already, in wiring.presets.dfa. Give this one another name"):
        load_plugins()
    assert parse_wiring("dfa") == dfa()


def test_no_plugin_is_loaded_for_what_is_known(site: Path) -> None:
    install(site, "idle", "raise RuntimeError('loaded')")
    assert parse_wiring("dfa:kappa=2").name == "dfa"
    assert Wiring.from_json(dfa().to_json()) == dfa()


def test_registering_twice() -> None:
    def dfa(kappa: float = 1.0) -> Wiring:
        raise AssertionError

    with pytest.raises(OptionError, match="A preset is called 'dfa' already"):
        preset(dfa)
    assert preset(PRESETS["bp"]) is PRESETS["bp"]


@pytest.mark.parametrize(
    ("body", "match"),
    [
        ("return 3", "Preset 'odd_preset' cannot be built. Its function returned a int. Return a wiring.Wiring"),
        ("raise KeyError('no')", "Its function raised KeyError"),
    ],
)
def test_a_preset_that_makes_no_wiring(site: Path, body: str, match: str) -> None:
    install(site, "odd", f"from wiring import preset\n\n@preset\ndef odd_preset():\n    {body}\n")
    with pytest.raises(InvalidWiring, match=match):
        parse_wiring("odd_preset")


@pytest.mark.parametrize(
    ("body", "match"),
    [
        ("kind: str", "The word Odd has no kind of its own, by which JSON would find it. Declare kind: Literal"),
        ("beta: float = 1.0", "has no kind of its own"),
        (
            "kind: Literal['gradient'] = 'gradient'",
            "Odd has the kind 'gradient', which is that of wiring.spec.Gradient. Give it another",
        ),
    ],
    ids=["without", "inherited", "taken"],
)
def test_a_word_needs_a_kind_of_its_own(body: str, match: str) -> None:
    with pytest.raises(InvalidWiring, match=match):
        exec(f"class Odd(Credit):\n    {body}", {"Credit": Credit, "Literal": __import__("typing").Literal, "__name__": "odd"})
    assert Credit.words()["gradient"].__name__ == "Gradient"


def test_a_cell_may_be_run_again() -> None:
    found = []
    for _ in range(2):
        names = {"Credit": Credit, "Literal": __import__("typing").Literal, "__name__": "notebook"}
        exec("class Again(Credit):\n    kind: Literal['again'] = 'again'", names)
        found.append(names["Again"])
    assert Credit.words()["again"] is found[1] is not found[0]


def test_the_example_installed(tmp_path: Path) -> None:
    """`errorwire list` and `explain` in a process of their own, with the plug-in's metadata on the path."""
    shutil.copy(ROOT / "examples/extending/plugin/errorwire_clipped.py", tmp_path)
    declared = (ROOT / "examples/extending/plugin/pyproject.toml").read_text(encoding="utf-8")
    assert '[project.entry-points.errorwire]\nclipped = "errorwire_clipped"' in declared
    text = (tmp_path / "errorwire_clipped.py").read_text(encoding="utf-8")
    install(tmp_path, "clipped", text, module="errorwire_clipped")
    words = ["explain", "--model", "mlp:width=8,depth=2", "--wiring", "clipped_dfa:limit=0.5", "--input-shape", "1x4x4"]
    code = f"from runtime.cli import app; app(['list'], standalone_mode=False); app({words}, standalone_mode=False)"
    environment = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": "", "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    listed, _, explained = run.stdout.partition("Models:")
    assert "clipped_dfa" in listed
    assert "limit=1.0" in listed
    assert "clipped_dfa on Sequential" in explained
