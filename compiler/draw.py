"""Program -> file: the forward graph with its error wiring on top, as a picture or as DOT."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from compiler.drawing.diagram import Diagram, diagram
from compiler.drawing.dot import dot
from compiler.drawing.paint import png, svg
from compiler.errors import DrawError
from compiler.files import put

if TYPE_CHECKING:
    from compiler.program import UpdateProgram

WRITERS: dict[str, Callable[[Diagram], bytes]] = {".svg": svg, ".png": png, ".dot": dot}


def draw(program: "UpdateProgram", path: str | Path) -> Path:
    """Draw a program: its forward graph in grey, and over it in colour who hears whom.

    Arguments:
        path: the file to write; ``.svg``, ``.png`` or ``.dot`` (Graphviz) says as what. A file that is there is replaced,
            and stays as it was where drawing fails.

    Returns:
        The path.

    Raises:
        DrawError: another suffix, no such folder, or a disk that refuses.
    """
    path = Path(path)
    known = ", ".join(WRITERS)
    if path.suffix.lower() not in WRITERS:
        found = f"ends in {path.suffix!r}" if path.suffix else "has no suffix"
        raise DrawError(f"Picture {str(path)!r} {found}, so it is unclear what to write. Use one of: {known}.")
    if not path.parent.is_dir():
        raise DrawError(f"Picture {str(path)!r} cannot be written: there is no folder {str(path.parent)!r}. Make it first.")
    content = WRITERS[path.suffix.lower()](diagram(program))
    try:
        put(path, content)
    except OSError as error:
        raise DrawError(
            f"Picture {str(path)!r} cannot be written: {error.strerror or error}. Check the folder's rights and the disk's space."
        ) from error
    return path
