"""The page's data -> one HTML file: template, style sheet, script and data in it, and nothing that a network could be asked for."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from typing import Any

SCRIPTS = ("base", "charts", "overview", "curves", "graph", "sites", "lanes", "heat", "norms", "options", "main")


def html(tree: Mapping[str, Any]) -> bytes:
    """The page. Nothing in ``tree`` can become markup or a script: the data are JSON with ``<``, ``>`` and ``&`` escaped, which the
    script puts on the page as text only, and the browser runs no script but this one, by its hash."""
    script = _script()
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{_digest(script)}'; base-uri 'none'; form-action 'none'"
    )
    parts = {
        "@POLICY@": policy,
        "@TITLE@": escape(f"{tree['title']} - errorwire"),
        "@STYLE@": _asset("page.css"),
        "@SCRIPT@": script,
        "@DATA@": embedded(tree),
    }
    page = re.sub("@[A-Z]+@", lambda mark: parts[mark[0]], _asset("page.html"))
    return page.encode("utf-8", "xmlcharrefreplace")  # only the title can hold what UTF-8 cannot: lone surrogates


def embedded(tree: Mapping[str, Any]) -> str:
    """JSON in ASCII without a character that HTML would take for its own."""
    text = json.dumps(tree, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _script() -> str:
    return "(() => {\n'use strict';\n" + "\n".join(_asset(f"{name}.js") for name in SCRIPTS) + "\n})();\n"


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _asset(name: str) -> str:
    return (files("runtime.page") / "assets" / name).read_text(encoding="utf-8")
