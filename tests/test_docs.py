"""The documentation: every block of code runs, the site builds without a warning and fetches nothing, figures are those measured."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import compiler
import runtime
import wiring

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "NO_MKDOCS_2_WARNING": "1"}


def module(path: Path) -> ModuleType:
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = found
    spec.loader.exec_module(found)
    return found


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=900)


def test_every_block_of_code_runs() -> None:
    """In a process of their own, since pages register rules of theirs and stay registered."""
    pages = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
    ended = run(DOCS / "mkdocs" / "blocks.py", *pages)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "README.md: 0 blocks" not in ended.stdout


@pytest.mark.parametrize(
    ("block", "wrong"),
    [
        ("```sh\nerrorwire train --model mlp --wiring dfa --learning-rate 1\n```", "--learning-rate"),
        ("```sh\nerrorwire train --model mlp --wiring dfb\n```", "dfb"),
        ("```sh\nerrorwire learn\n```", "no such command"),
        ("```sh\npython benchmarks/nothing.py\n```", "there is no benchmarks/nothing.py"),
        ("```python\nprint('one')\n```\n\n<!-- printed -->\n```text\ntwo\n```", "nothing prints 'two'"),
        ("```python\n\nnot_there\n```", "line 3"),
    ],
)
def test_a_block_that_says_what_is_not_so_is_found(
    block: str, wrong: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(block + "\n", encoding="utf-8")
    assert module(DOCS / "mkdocs" / "blocks.py").main([str(page)]) == 1
    assert wrong in capsys.readouterr().out


def test_site_builds_strictly_and_fetches_nothing(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="the documentation needs mkdocs-material: pip install '.[docs]'")
    pytest.importorskip("mkdocstrings", reason="the documentation needs mkdocstrings: pip install '.[docs]'")
    ended = run("-m", "mkdocs", "build", "--strict", "-f", DOCS / "mkdocs" / "mkdocs.yml", "-d", tmp_path)
    assert ended.returncode == 0, ended.stderr
    made = {page.name: page.read_text(encoding="utf-8") for page in tmp_path.glob("*.html")}
    assert {f"{page.stem}.html" for page in DOCS.glob("*.md")} <= set(made)
    for name, text in made.items():
        fetched = re.findall(
            r"<(?:script|img|iframe)[^>]*\ssrc=\"(?:https?:)?//[^\"]*|<link[^>]*\shref=\"(?:https?:)?//[^\"]*", text
        )
        assert not fetched, name
        assert "<!-- insert" not in text, name
    for sheet in tmp_path.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(?:https?:)?//|@import", sheet.read_text(encoding="utf-8")), sheet.name
    assert "--error-lr" in made["cli.html"]
    for package in (wiring, compiler, runtime):
        shown = set(re.findall(r'<h\d id="[\w.]+\.(\w+)"', made[f"api-{package.__name__}.html"]))
        assert {name for name in package.__all__ if callable(getattr(package, name))} <= shown
    assert json.loads((tmp_path / "search" / "search_index.json").read_text(encoding="utf-8"))["docs"]


def test_the_page_of_figures_is_what_the_benchmarks_wrote() -> None:
    written = (DOCS / "measured.md").read_text(encoding="utf-8")
    assert written == module(ROOT / "benchmarks" / "measured.py").page(), "run make measured"


def test_what_was_not_measured_says_so(tmp_path: Path) -> None:
    page = module(ROOT / "benchmarks" / "measured.py").page(tmp_path)
    assert page.count("\nNot measured. `") == page.count("\n## ")
