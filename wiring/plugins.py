"""Words and presets of installed distributions: modules that they name as entry points of the group ``errorwire``.

A distribution declares a module by a line of its ``pyproject.toml``::

    [project.entry-points.errorwire]
    anything = "package.module"

Importing the module is all that is done with it: its classes and decorators register what it has.
"""

import functools
import importlib.metadata
import warnings

from wiring.errors import PluginWarning

GROUP = "errorwire"


@functools.cache
def load_plugins() -> tuple[str, ...]:
    """Import every plug-in, once a process; what is said of those that cannot be imported.

    Called where a kind or a preset is not known, and where all presets are listed. A broken plug-in stops neither the others nor
    the caller: it is named in a ``PluginWarning`` and in the error about what was looked for.
    """
    failed = []
    for point in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        try:
            point.load()
        except Exception as error:  # whatever its code does
            origin = f"distribution {point.dist.name!r} {point.dist.version}" if point.dist is not None else "no distribution"
            failed.append(
                f"Plug-in {point.name!r} ({point.value}) of {origin} cannot be loaded: {type(error).__name__}: {error}. "
                "Mend or uninstall it."
            )
            warnings.warn(failed[-1], PluginWarning, stacklevel=2)
    return tuple(failed)
