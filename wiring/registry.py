"""Wirings by name: the presets, and the texts and files that name one on a command line."""

import inspect
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

from wiring import presets
from wiring.errors import OptionError, WiringError
from wiring.spec import InvalidWiring
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


FIELDS = tuple(name for record in (Wiring, Rule) for name in record.model_fields if name not in ("name", "rules", "at"))
"""What any preset's text can set beside the preset's own options."""


def parse_wiring(text: str) -> Wiring:
    """A wiring from ``preset``, ``preset:key=value,...`` or the path of a JSON file.

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
    if name not in PRESETS:
        near = get_close_matches(name, PRESETS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise OptionError(f"No preset is called {name!r}.{hint} Presets: {', '.join(PRESETS)}; or give a .json file.")
    accepted = inspect.signature(PRESETS[name]).parameters
    fields = {key: options.pop(key) for key in list(options) if key not in accepted}
    unknown = [key for key in fields if key.partition(".")[0] not in FIELDS]
    if unknown:
        offers = f"It takes: {', '.join(accepted)}. " if accepted else ""
        raise OptionError(
            f"Preset {name!r} has no option {unknown[0]!r}. {offers}Every wiring takes: {', '.join(FIELDS)} (inner fields as credit.kappa)."
        )
    try:
        wiring = PRESETS[name](**options)
        return wiring.but(**{key.replace(".", "__"): _listed(key, value) for key, value in fields.items()}) if fields else wiring
    except InvalidWiring as error:
        raise InvalidWiring(f"Preset {text!r} cannot be built. {error}") from error


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
