"""The page of the command line, from the functions behind it: what stands there is what ``errorwire COMMAND --help`` says."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo

from runtime.cli import app

WORDS = {int: "INTEGER", float: "FLOAT", str: "TEXT"}


def commands() -> str:
    """Every command in the order of ``errorwire --help``: usage, what it does, its arguments and options."""
    shown = [info for info in app.registered_commands if info.callback is not None and not info.hidden]
    return "\n".join(_command(info.name or info.callback.__name__, info.callback) for info in shown)  # type: ignore[union-attr]


@dataclass(frozen=True)
class Parameter:
    """An argument or option of a command. ``default``: ``inspect.Parameter.empty`` where it must be given."""

    name: str
    kind: Any
    info: Any
    default: Any

    @property
    def is_argument(self) -> bool:
        return isinstance(self.info, ArgumentInfo)

    @property
    def required(self) -> bool:
        return self.default is inspect.Parameter.empty

    @property
    def names(self) -> tuple[str, ...]:
        dashed = "--" + self.name.replace("_", "-")
        return tuple(self.info.param_decls or (dashed,)) + ((dashed.replace("--", "--no-", 1),) if self.default is True else ())

    @property
    def values(self) -> str:
        """What may be given, in capitals, or the words to choose from; nothing for a flag."""
        kinds = [kind for kind in get_args(self.kind) if kind is not NoneType] if NoneType in get_args(self.kind) else [self.kind]
        if get_origin(kinds[0]) is Literal:
            return "|".join(map(str, get_args(kinds[0])))
        return "" if kinds[0] is bool else WORDS.get(kinds[0], "PATH")

    @property
    def usage(self) -> str:
        if not self.is_argument:
            return f"{self.names[0]} {self.values}"
        name = self.name.upper() + ("..." if get_origin(self.kind) is list else "")
        return name if self.required else f"[{name}]"


def _parameters(function: Callable[..., Any]) -> list[Parameter]:
    found = []
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        kind, info = get_args(hints[name])[:2]
        found.append(Parameter(name, kind, info, parameter.default))
    return [parameter for parameter in found if not parameter.info.hidden]


def _command(name: str, function: Callable[..., Any]) -> str:
    parameters = _parameters(function)
    arguments = [parameter for parameter in parameters if parameter.is_argument]
    options = [parameter for parameter in parameters if not parameter.is_argument]
    needed = [parameter.usage for parameter in [*arguments, *options] if parameter.required or parameter.is_argument]
    usage = " ".join(["errorwire", name, *needed, *(["[OPTIONS]"] if options else [])])
    panels: dict[str, list[Parameter]] = {"Argument": arguments}
    for option in options:
        panels.setdefault(option.info.rich_help_panel or "Option", []).append(option)
    tables = [_table(panel, shown) for panel, shown in panels.items() if shown]
    return "\n".join([f"## {name}\n", f"{inspect.getdoc(function)}\n", f"```text\n{usage}\n```\n", *tables])


def _table(panel: str, parameters: list[Parameter]) -> str:
    rows = "\n".join(f"| {_names(one)} | {_default(one)} | {_cell(one.info.help or '')} |" for one in parameters)
    return f"| {panel} | default | |\n| --- | --- | --- |\n{rows}\n"


def _names(parameter: Parameter) -> str:
    names = (parameter.usage,) if parameter.is_argument else parameter.names
    values = "" if parameter.is_argument or not parameter.values else f" <code>{parameter.values.replace('|', '&#124;')}</code>"
    return ", ".join(f"`{name}`" for name in names) + values


def _default(parameter: Parameter) -> str:
    if parameter.required:
        return "required"
    if parameter.default is None or parameter.default is False:
        return ""
    return f"`{parameter.names[0] if parameter.default is True else parameter.default}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
