"""Wirings by name: the presets, and the texts and files that name one on a command line."""

import inspect
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from wiring import presets
from wiring.errors import OptionError, WiringError
from wiring.plugins import load_plugins
from wiring.record import InvalidWiring, same_definition
from wiring.text import Option, parse_call
from wiring.wiring import Rule, Wiring

PRESETS: dict[str, Callable[..., Wiring]] = {
    name: getattr(presets, name)
    for name in [
        "bp",
        "fa",
        "kp",
        "weight_mirror",
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

Preset = TypeVar("Preset", bound=Callable[..., Wiring])
FIELDS = tuple(name for record in (Wiring, Rule) for name in record.model_fields if name not in ("name", "rules", "at"))
"""What any preset's text can set beside the preset's own options."""


def preset(function: Preset) -> Preset:
    """Register a function that makes a wiring as a preset of its own name; its parameters are the options of texts.

    Raises:
        OptionError: another preset has that name.
    """
    name = function.__name__
    if name in PRESETS and not same_definition(PRESETS[name], function):
        raise OptionError(f"A preset is called {name!r} already, in {PRESETS[name].__module__}. Give this one another name.")
    PRESETS[name] = function
    return function


def all_presets() -> Mapping[str, Callable[..., Wiring]]:
    """Every preset by name, those of installed plug-ins included."""
    load_plugins()
    return PRESETS


def parse_wiring(text: str) -> Wiring:
    """A wiring from ``preset``, ``preset:key=value,...`` or the path of a JSON file.

    Presets are those of this package, those that were registered, and those of installed plug-ins.

    Keys are the preset's options, and behind them any field of the wiring and its rule, inner ones with dots:
    ``rec_lra:depth=1,reprojection=none,credit.kappa=2,plasticity.sign=-1``. Patterns are joined by ``|``: ``bp:frozen=conv*|bn*``.

    Raises:
        OptionError: unknown preset, unknown option, or an option text that cannot be read.
        InvalidWiring: an option's value or the JSON file says something that cannot be.
        WiringError: the JSON file cannot be read.
    """
    if text.endswith(".json"):
        return _from_file(Path(text))
    name, options = parse_call(text)
    failed = () if name in PRESETS else load_plugins()
    if name not in PRESETS:
        near = get_close_matches(name, PRESETS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        told = f"No preset is called {name!r}.{hint} Presets: {', '.join(PRESETS)}; or give a .json file."
        raise OptionError(" ".join((told, *failed)))
    accepted = inspect.signature(PRESETS[name]).parameters
    fields = {key: options.pop(key) for key in list(options) if key not in accepted}
    unknown = [key for key in fields if key.partition(".")[0] not in FIELDS]
    if unknown:
        offers = f"It takes: {', '.join(accepted)}. " if accepted else ""
        raise OptionError(
            f"Preset {name!r} has no option {unknown[0]!r}. {offers}Every wiring takes: {', '.join(FIELDS)} (inner fields as credit.kappa)."
        )
    try:
        wiring = _made(name, options)
        return wiring.but(**{key.replace(".", "__"): _listed(key, value) for key, value in fields.items()}) if fields else wiring
    except InvalidWiring as error:
        raise InvalidWiring(f"Preset {text!r} cannot be built. {error}") from error


def _made(name: str, options: Mapping[str, Option]) -> Wiring:
    """What a preset makes of its options, whatever its code does with them."""
    try:
        wiring: object = PRESETS[name](**options)
    except WiringError:
        raise
    except Exception as error:
        raise InvalidWiring(f"Its function raised {type(error).__name__}: {error}.") from error
    if not isinstance(wiring, Wiring):
        raise InvalidWiring(f"Its function returned a {type(wiring).__name__}. Return a wiring.Wiring.")
    return wiring


def _listed(key: str, value: Option) -> object:
    """A field's value from a text; several patterns have ``|`` between them."""
    several = key in ("frozen", "topology.levels") or key.startswith("sites.")
    return tuple(value.split("|")) if several and isinstance(value, str) else value


def _from_file(path: Path) -> Wiring:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WiringError(f"Wiring file {str(path)!r} cannot be read: {error}. Write one with wiring.to_json().") from error
    return Wiring.from_json(text)
