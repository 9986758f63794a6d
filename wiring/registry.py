"""Wirings by name: the presets, and the texts and files that name one on a command line."""

import inspect
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

from wiring import presets
from wiring.errors import OptionError, WiringError
from wiring.spec import InvalidWiring
from wiring.text import parse_call
from wiring.wiring import Wiring

PRESETS: dict[str, Callable[..., Wiring]] = {
    name: getattr(presets, name)
    for name in [
        "bp",
        "fa",
        "kp",
        "sign_symmetry",
        "dfa",
        "sdfa",
        "sparse_dfa",
        "dkp",
        "drtp",
        "lra_e",
        "rec_lra",
        "ekdaa",
        "shallow",
    ]
}


def parse_wiring(text: str) -> Wiring:
    """A wiring from ``preset``, ``preset:key=value,...`` or the path of a JSON file.

    Raises:
        OptionError: unknown preset, unknown option, or an option text that cannot be read.
        InvalidWiring: an option's value or the JSON file says something that cannot be.
        WiringError: the JSON file cannot be read.
    """
    if text.endswith(".json"):
        return _from_file(Path(text))
    name, options = parse_call(text)
    if name not in PRESETS:
        near = get_close_matches(name, PRESETS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise OptionError(f"No preset is called {name!r}.{hint} Presets: {', '.join(PRESETS)}; or give a .json file.")
    accepted = inspect.signature(PRESETS[name]).parameters
    unknown = [key for key in options if key not in accepted]
    if unknown:
        offers = f"It takes: {', '.join(accepted)}." if accepted else "It takes none."
        raise OptionError(f"Preset {name!r} has no option {unknown[0]!r}. {offers}")
    try:
        return PRESETS[name](**options)
    except InvalidWiring as error:
        raise InvalidWiring(f"Preset {text!r} cannot be built. {error}") from error


def _from_file(path: Path) -> Wiring:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WiringError(f"Wiring file {str(path)!r} cannot be read: {error}. Write one with wiring.to_json().") from error
    return Wiring.from_json(text)
