"""Wirings by name: the presets, and the texts and files that name one on a command line."""

import inspect
import os
import types
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin

from wiring import presets
from wiring.errors import OptionError, WiringError
from wiring.plugins import load_plugins
from wiring.record import InvalidWiring, Record, Word, same_definition
from wiring.text import Option, read_value, split_call
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
    ``rec_lra:depth=1,reprojection=none,credit.kappa=2,plasticity.sign=-1``. A field that holds several values takes them joined by
    ``|``: ``bp:frozen=conv*|bn*``; a record is named by its kind: ``dfa:synapse=sparse,synapse.fan_in=2``.

    Raises:
        OptionError: unknown preset, unknown option, or an option text that cannot be read.
        InvalidWiring: an option's value or the JSON file says something that cannot be.
        WiringError: the JSON file cannot be read.
    """
    if text.endswith(".json"):
        return _from_file(Path(os.path.expanduser(text)))  # pathlib's own fails where a user's home is unknown
    name, words = split_call(text)
    failed = () if name in PRESETS else load_plugins()
    if name not in PRESETS:
        near = get_close_matches(name, PRESETS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        told = f"No preset is called {name!r}.{hint} Presets: {', '.join(PRESETS)}; or give a .json file."
        raise OptionError(" ".join((told, *failed)))
    accepted = inspect.signature(PRESETS[name]).parameters
    fields = {key: word for key, word in words.items() if key not in accepted}
    unknown = [key for key in fields if key.partition(".")[0] not in FIELDS]
    if unknown:
        offers = f"It takes: {', '.join(accepted)}. " if accepted else ""
        raise OptionError(
            f"Preset {name!r} has no option {unknown[0]!r}. {offers}Every wiring takes: {', '.join(FIELDS)} (inner fields as credit.kappa)."
        )
    try:
        wiring = _made(name, {key: read_value(word) for key, word in words.items() if key in accepted})
        return wiring.but(**{key.replace(".", "__"): _read(wiring, key, fields) for key in fields}) if fields else wiring
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


def _read(wiring: Wiring, key: str, fields: Mapping[str, str]) -> object:
    """A field's value from a text; where its annotation is a tuple, what stands between ``|``."""
    word, single = fields[key], read_value(fields[key])
    return tuple(word.split("|")) if single is not None and _holds_several(wiring, key, fields) else single


def _holds_several(wiring: Wiring, key: str, fields: Mapping[str, str]) -> bool:
    """Whether the field that a key names is a tuple by its annotation, in records of the kinds that the text gives them."""
    *path, name = key.split(".")
    record: object = wiring if key.partition(".")[0] in type(wiring).model_fields else wiring.rules[0]
    for depth, inner in enumerate(path, 1):
        record = getattr(record, inner, None)
        kind = fields.get(".".join((*path[:depth], "kind")), fields.get(".".join(path[:depth])))
        if kind is not None and isinstance(record, Word):
            record = _of_kind(record, kind)
    field = type(record).model_fields.get(name) if isinstance(record, Record) else None
    return field is not None and _is_tuple(field.annotation)


def _of_kind(word: Word, kind: str) -> Word:
    """Another word of the same family, with whatever it has by default; the word itself where the kind is unknown."""
    try:
        return type(word).family().word(kind).model_construct(kind=kind)
    except ValueError:
        return word


def _is_tuple(annotation: Any) -> bool:
    if get_origin(annotation) in (Union, types.UnionType):
        return any(map(_is_tuple, get_args(annotation)))
    return annotation is tuple or get_origin(annotation) is tuple


def _from_file(path: Path) -> Wiring:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WiringError(f"Wiring file {str(path)!r} cannot be read: {error}. Write one with wiring.to_json().") from error
    return Wiring.from_json(text)
