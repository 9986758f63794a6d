"""Which models named in a run folder are imported for a page: whatever ``train`` would import but what a stranger's text could abuse."""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from runtime.models.registry import parse_model
from runtime.page.errors import ReportError

NO_MODELS = sys.stdlib_module_names | {"torch", "pip", "setuptools"}
"""Packages that hold no factories of models, but functions that run commands, load pickles or delete files."""


def check_trusted(model: str, folder: Path) -> None:
    """Refuse a model text whose factory lies in the run folder itself, or in a package that has none. Nothing is imported.

    Raises:
        ReportError: naming the module.
    """
    module, _ = parse_model(model)
    if module is None:
        return
    if module.partition(".")[0] in NO_MODELS:
        raise ReportError(f"The run names a factory in {module!r}, which holds no models. It is not called for a page.")
    if any(folder.resolve() in place.parents for place in _files(module)):
        raise ReportError(
            f"Module {module!r} lies in the run folder itself, and a page executes nothing from there. Move it elsewhere."
        )


def _files(module: str) -> list[Path]:
    """The files that importing a module would execute, packages first, as far as they are found."""
    found: list[Path] = []
    search: Sequence[str] | None = [str(Path.cwd()), *sys.path]
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        spec: ModuleSpec | None = PathFinder.find_spec(".".join(parts[:depth]), search)
        if spec is None:
            break
        if spec.origin is not None:
            found.append(Path(spec.origin).resolve())
        if spec.submodule_search_locations is None:
            break
        search = list(spec.submodule_search_locations)
    return found
