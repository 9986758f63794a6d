"""Runs the code blocks of Markdown pages, so that a page cannot say what the code does not do.

    python docs/mkdocs/blocks.py README.md docs/*.md

Each page has a namespace and an empty folder of its own, in which its blocks run from top to bottom. Every ``python`` block runs. Of a
``sh`` block each ``errorwire`` line is read by the command's own parser, its ``--wiring`` and ``--model`` too; behind ``<!-- run -->`` it runs
as well. Scripts and make targets must be there. A ``text`` block behind ``<!-- printed -->`` shows what the block before it prints: each
of its lines must be among those, ``...`` standing for any.
"""

import contextlib
import io
import os
import re
import shlex
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import typer.main
from typer.testing import CliRunner

from runtime.cli import app
from runtime.models import MODELS
from wiring import parse_wiring

ROOT = Path(__file__).parent.parent.parent
BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>run|printed) -->\n+)?(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^ *```$", re.M | re.S
)


class Wrong(Exception):
    """A block says what is not so."""


@dataclass(frozen=True)
class Block:
    """A fenced block. ``mark``: ``run``, ``printed`` or nothing; ``line``: of its first line of code in the page."""

    language: str
    mark: str | None
    code: str
    line: int


def blocks(text: str) -> Iterator[Block]:
    """The blocks of a page in order."""
    for found in BLOCK.finditer(text):
        code = re.sub(rf"^{found['indent']}", "", found["code"], flags=re.M)
        yield Block(found["language"], found["mark"], code, text.count("\n", 0, found.start("code")) + 1)


def run_page(path: Path) -> int:
    """Run a page's blocks; how many there were.

    Raises:
        Exception: of a block, whose place in the page is in the traceback. Wrong: a command that would not do, or other output.
    """
    namespace: dict[str, object] = {"__name__": path.stem}
    printed, count = "", 0
    for block in blocks(path.read_text(encoding="utf-8")):
        count += 1
        if block.language == "python":
            printed = _python(block, path, namespace)
        elif block.language in ("sh", "bash", "console"):
            printed = "\n".join(_shell(command, block, path) for command in _commands(block.code))
        elif block.mark == "printed":
            _compare(block, printed, path)
    return count


def _python(block: Block, path: Path, namespace: dict[str, object]) -> str:
    code = compile("\n" * (block.line - 1) + block.code, str(path), "exec")
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(code, namespace)
    return said.getvalue()


def _commands(code: str) -> Iterator[list[str]]:
    """The words of each line, continued ones joined, comments and prompts left out."""
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        if words:
            yield words


def _shell(words: list[str], block: Block, path: Path) -> str:
    """Check one command; what it prints where it is to run."""
    place = f"{path.name}, line {block.line}: {' '.join(words)}"
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words = words[1:]
    if words[0] in ("torchrun", "python") and "-m" in words and words[words.index("-m") + 1] in ("errorwire", "runtime"):
        words = ["errorwire", *words[words.index("-m") + 2 :]]
    if words[0] == "errorwire":
        _check(words[1:], place)
        return _run(words[1:], place) if block.mark == "run" else ""
    targets = re.findall(r"^([\w.-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    if words[0] == "make" and not {word for word in words[1:] if "=" not in word} <= set(targets):
        raise Wrong(f"{place}: the Makefile has no such target")
    scripts = [word for word in words[1:] if words[0] in ("python", "torchrun") and word.endswith(".py")]
    missing = [script for script in scripts if not (ROOT / script).exists()]
    if missing:
        raise Wrong(f"{place}: there is no {missing[0]}")
    return ""


def _check(arguments: list[str], place: str) -> None:
    """Read a command's options as it would, and the texts of wirings and models."""
    group = typer.main.get_command(app)
    if arguments[0].startswith("-"):
        return
    if arguments[0] not in group.commands:  # type: ignore[attr-defined]
        raise Wrong(f"{place}: no such command")
    command = group.commands[arguments[0]]  # type: ignore[attr-defined]
    try:
        given = command.make_context(arguments[0], list(arguments[1:])).params
    except Exception as problem:
        raise Wrong(f"{place}: {getattr(problem, 'message', problem)}") from problem
    for text in [given.get("wiring") or "", *(given.get("wirings") or ())]:
        if text and not text.endswith(".json"):
            parse_wiring(text)
    model = given.get("model") or "mlp"
    if model.partition(":")[0] not in MODELS and not re.fullmatch(r"[\w.]+:\w+", model):
        raise Wrong(f"{place}: no model is called {model!r}")


def _run(arguments: list[str], place: str) -> str:
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    if result.exit_code != 0:
        raise Wrong(f"{place}: exit {result.exit_code}\n{result.output}") from result.exception
    return result.output


def _compare(block: Block, printed: str, path: Path) -> None:
    lines = {" ".join(line.split()) for line in printed.splitlines()}
    for line in block.code.splitlines():
        wanted = " ".join(line.split())
        pattern = ".*".join(map(re.escape, wanted.split("...")))
        if wanted and not any(re.fullmatch(pattern, known) for known in lines):
            raise Wrong(f"{path.name}, line {block.line}: nothing prints {line!r}. What is printed:\n{printed}")


def main(names: list[str]) -> int:
    """Run pages; how many failed."""
    failed, sys.path = 0, [str(ROOT), *sys.path]
    warnings.simplefilter("ignore")
    for path in [Path(name).resolve() for name in names]:
        start, home = time.process_time(), Path.cwd()
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            try:
                print(f"{path.name}: {run_page(path)} blocks, {time.process_time() - start:.1f} s", flush=True)
            except Exception:
                failed += 1
                print(f"{path.name}: FAILED\n{traceback.format_exc()}", flush=True)
            finally:
                os.chdir(home)
    return failed


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 1))
