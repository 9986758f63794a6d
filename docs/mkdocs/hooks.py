"""What pages take from the code and from other pages while they are built: ``<!-- insert: WHAT -->`` on a line of its own.

``commands``: the command line. ``presets``: a row a preset, read off its record. ``preset functions``: what each says of itself.
``changelog``: CHANGELOG.md. ``table PAGE # HEADING``: the first table below a heading of another page, so that a figure is written
down once.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import commands
import presets
from mkdocs.exceptions import PluginError

DOCS = Path(__file__).parent.parent
INSERT = re.compile(r"^<!-- insert: (.+?) -->$", re.MULTILINE)


def changelog() -> str:
    """CHANGELOG.md below its title."""
    return (DOCS.parent / "CHANGELOG.md").read_text(encoding="utf-8").partition("\n")[2]


def table(page: str, heading: str) -> str:
    """The first table below ``heading`` of ``page``.

    Raises:
        PluginError: no such heading there, or no table below it.
    """
    text = (DOCS / page).read_text(encoding="utf-8")
    section = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    found = section and re.search(r"(?:^\|.*\n?)+", section[1], re.MULTILINE)
    if not found:
        raise PluginError(f"docs/{page} has no table below the heading {heading!r}. Write one that it has behind 'insert: table'.")
    return found[0]


WHOLE: dict[str, Callable[[], str]] = {
    "commands": commands.commands,
    "presets": presets.presets,
    "preset functions": presets.functions,
    "changelog": changelog,
}


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """MkDocs calls this with every page's text."""

    def inserted(asked: re.Match[str]) -> str:
        kind, _, rest = asked[1].partition(" ")
        if kind == "table":
            return table(*(part.strip() for part in rest.split("#", 1)))
        if asked[1] not in WHOLE:
            known = ", ".join([*WHOLE, "table PAGE # HEADING"])
            raise PluginError(f"docs/{page.file.src_uri} asks for {asked[1]!r}, which nothing makes. Known: {known}.")
        return WHOLE[asked[1]]()

    return INSERT.sub(inserted, markdown)
