"""Option texts: ``name:key=value,key=value``, used for wirings and models alike on the command line."""

from wiring.errors import OptionError

Option = int | float | bool | str | None
_CONSTANTS: dict[str, Option] = {"true": True, "false": False, "none": None}


def parse_call(text: str) -> tuple[str, dict[str, Option]]:
    """Split ``"rec_lra:depth=2,beta=0.1"`` into ``("rec_lra", {"depth": 2, "beta": 0.1})``.

    Raises:
        OptionError: no name, an option without ``=``, an empty value, or an option given twice.
    """
    name, options = split_call(text)
    return name, {key: read_value(word) for key, word in options.items()}


def split_call(text: str) -> tuple[str, dict[str, str]]:
    """The same with every option's value as it is written.

    Raises:
        OptionError: as ``parse_call``.
    """
    name, _, rest = text.partition(":")
    if not name.strip():
        raise OptionError(f"Option text {text!r} has no name in front of ':'. Write NAME or NAME:key=value,key=value.")
    options: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in rest.split(","))):
        key, equals, word = (piece.strip() for piece in part.partition("="))
        if not equals or not key or not word:
            raise OptionError(f"Option {part!r} in {text!r} is not of the form key=value. Write {name}:key=value,key=value.")
        if key in options:
            raise OptionError(f"Option {key!r} stands twice in {text!r}. Give it once.")
        options[key] = word
    return name.strip(), options


def read_value(text: str) -> Option:
    """Read a number, ``true``, ``false``, ``none``, or else the text itself."""
    if text.lower() in _CONSTANTS:
        return _CONSTANTS[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
