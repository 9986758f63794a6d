"""A run of operators as one call: TorchScript's interpreter executes it without Python, so without Python's lock.

Streams on a CPU are host threads, and each return to Python is a chance to wait for another thread's turn. The interpreter calls
the same kernels in the same order, with its optimiser off, so the numbers are the same bit for bit.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx

from compiler.effects import elements, picks

Spell = Callable[[fx.Node], str]
_FORMATS = {torch.preserve_format: "None", torch.contiguous_format: "0", torch.channels_last: "2", torch.channels_last_3d: "3"}
_numbers = itertools.count()


def segment(nodes: Sequence[fx.Node], spell: Spell, takes: Sequence[str], gives: Sequence[str]) -> Callable[..., Any] | None:
    """Nodes as a function of tensors; ``None`` where TorchScript cannot express one of them.

    Arguments:
        spell: the name of a node's value.
        takes: names of the arguments.
        gives: names of the results; one is returned as it is, several as a tuple.
    """
    name = f"segment_{next(_numbers)}"
    try:
        lines = [line for node in nodes if not picks(node) for line in _lines(node, spell)]
        text = "\n    ".join([f"def {name}({', '.join(takes)}):", *lines, f"return {', '.join(gives)}"]) + "\n"
        return getattr(torch.jit.CompilationUnit(text), name)  # type: ignore[no-any-return]
    except (Inexpressible, RuntimeError):
        return None


class Inexpressible(Exception):
    """An argument that has no form in TorchScript."""


def _lines(node: fx.Node, spell: Spell) -> list[str]:
    target: Any = node.target
    if not isinstance(target, torch._ops.OpOverload):
        raise Inexpressible
    arguments = [_written(argument, spell) for argument in node.args]
    arguments += [f"{key}={_written(argument, spell)}" for key, argument in node.kwargs.items()]
    several = isinstance(node.meta.get("val"), tuple | list)
    places = range(len(elements(node)))
    names = [f"{node.name}_at{place}" for place in places] if len(places) > 1 else [node.name]
    if several and len(places) == 1:
        return [f"{node.name} = torch.ops.{_path(target)}({', '.join(arguments)})[0]"]
    return [f"{', '.join(names)} = torch.ops.{_path(target)}({', '.join(arguments)})"]


def _path(target: Any) -> str:
    """The operator without its overload, which the arguments' types decide."""
    return str(target._schema.name).replace("::", ".")


def _written(argument: Any, spell: Spell) -> str:
    if isinstance(argument, fx.Node):
        return spell(argument)
    if isinstance(argument, list | tuple):
        inside = f"[{', '.join(_written(part, spell) for part in argument)}]"
        optional = any(part is None for part in argument)
        return f"torch.jit.annotate(List[Optional[Tensor]], {inside})" if optional else inside
    if isinstance(argument, torch.memory_format):
        return _FORMATS[argument]
    if isinstance(argument, torch.device):
        return f'torch.device("{argument}")'
    if isinstance(argument, float):
        return f'float("{argument!r}")' if argument != argument or argument in (float("inf"), float("-inf")) else repr(argument)
    if argument is None or isinstance(argument, bool | int | str | torch.dtype | torch.layout):
        return repr(argument)
    raise Inexpressible
