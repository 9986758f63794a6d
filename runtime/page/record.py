"""What a page knows of a run before anything is compiled."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.metrics import History


@dataclass(frozen=True)
class Shown:
    """A run, called ``name`` on the page, that lies in ``folder``. Texts and numbers come from files and are not to be trusted.

    ``options``: by the names of the command line; ``record``: the wiring as JSON text. ``shape``: of one input without the batch,
    and ``classes``, both of the data; ``None`` where the run does not say. ``figures``: single results besides the history, by what
    they are called. ``angles``: in degrees by site, behind the last epoch, of a run that was not watched. ``notes``: what is missing,
    and why; ``unread``: the checkpoint is, so that nothing measured can be shown. ``refused``: why the wiring could not be compiled, if it was tried.
    """

    name: str
    folder: Path = Path()
    options: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    history: History = field(default_factory=History)
    record: str | None = None
    shape: tuple[int, ...] | None = None
    classes: int | None = None
    figures: Mapping[str, str] = field(default_factory=dict)
    angles: Mapping[str, float | None] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    unread: bool = False
    refused: str | None = None

    @property
    def epochs_wanted(self) -> int | None:
        """How many epochs the run was to have, if it says so."""
        wanted = self.options.get("epochs")
        return wanted if type(wanted) is int else None
