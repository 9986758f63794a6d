"""What the tests of pages share: small runs in folders, and a page's data read back from its HTML."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from runtime.jobs import Job, Source
from runtime.jobs import train as trained
from runtime.recipe import Recipe

MODEL = "mlp:width=16,depth=2"
SITES = ("act1", "act2")


def train(folder: Path, wiring: str, watch: bool = True, epochs: int = 2, model: str = MODEL, resume: bool = False) -> Path:
    """A run on 100 digits."""
    recipe = Recipe(epochs=epochs, batch_size=25)
    trained(Job(model, wiring, Source(limit=100), recipe, folder, watch), resume, lambda heading, text: None)
    return folder


class Page(HTMLParser):
    """A page's elements: ``tags`` with their attributes, ``title``, and the texts of its scripts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.title = ""
        self.scripts: list[str] = []
        self._inside = ""
        self.feed(path.read_text(encoding="utf-8"))

    @property
    def data(self) -> dict[str, Any]:
        """What the page shows."""
        found: dict[str, Any] = json.loads(self.scripts[0])
        return found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "title":
            self.title += data
        if self._inside == "script":
            self.scripts[-1] += data
