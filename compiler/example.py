"""What the user calls the model and the loss with, flattened once and put together again where it is needed."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor, nn

from compiler.errors import InputError


@dataclass(frozen=True)
class Inputs:
    """Positional and keyword arguments of a model's ``forward``."""

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, x: Any) -> "Inputs":
        """A tensor is one argument, a tuple or list several, a dict keywords; ``Inputs`` is taken as it is."""
        if isinstance(x, Inputs):
            return x
        if isinstance(x, Mapping):
            return cls((), dict(x))
        return cls(tuple(x)) if isinstance(x, tuple | list) else cls((x,))

    def keywords(self) -> dict[str, Any]:
        return dict(self.kwargs or {})

    def in_form_of(self, example: "Inputs", forward: Callable[..., Any]) -> "Inputs":
        """The same arguments, as many by position as the example has, and its keywords in their order.

        Raises:
            InputError: equally many arguments, but others than the example's.
        """
        own, wanted = self.keywords(), example.keywords()
        if len(self.args) == len(example.args) and list(own) == list(wanted):
            return self
        if len(self.args) + len(own) != len(example.args) + len(wanted):
            return self  # whoever takes them counts, and says so
        meant, given = (_bound(forward, inputs) for inputs in (example, self))
        if meant is None or given is None:
            return self
        if meant.keys() != given.keys():
            raise InputError(
                f"The program was compiled for the arguments {', '.join(meant)} and got {', '.join(given)}. Pass the same ones, or compile "
                "with an example that has these."
            )
        names = list(meant)[: len(example.args)]
        return Inputs(tuple(given[name] for name in names), {name: given[name] for name in wanted})

    def leaves(self) -> list[Any]:
        """Every leaf, tensors and others, in pytree order."""
        if not self.kwargs and all(isinstance(argument, Tensor) for argument in self.args):
            return list(self.args)
        return pytree.tree_leaves((self.args, self.keywords()))

    def tensors(self) -> list[Tensor]:
        return [leaf for leaf in self.leaves() if isinstance(leaf, Tensor)]

    def device(self) -> torch.device:
        """The device of the first tensor.

        Raises:
            InputError: there is no tensor.
        """
        tensors = self.tensors()
        if not tensors:
            raise InputError("The example input holds no tensor, so no batch can be seen. Pass example=(x, y) with tensors.")
        return tensors[0].device


def _bound(forward: Callable[..., Any], inputs: Inputs) -> dict[str, Any] | None:
    """Arguments by the names of their parameters; ``None`` where they go into ``*args`` or ``**kwargs``.

    Raises:
        InputError: the function cannot be called so.
    """
    called = inspect.signature(forward)
    try:
        bound = called.bind(*inputs.args, **inputs.keywords()).arguments
    except TypeError as error:
        raise InputError(f"The model cannot be called with these arguments: {error}. Pass those of the example.") from error
    open_ended = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return None if any(called.parameters[name].kind in open_ended for name in bound) else dict(bound)


def leaves_of(labels: Any) -> list[Any]:
    """Every leaf of labels."""
    return [labels] if isinstance(labels, Tensor) else pytree.tree_leaves(labels)


Signature = tuple[object, ...]


def describe_leaf(leaf: Any) -> object:
    """What of a leaf a traced program depends on: shape, dtype, device and strides, or the value of a constant."""
    if isinstance(leaf, Tensor):
        return (leaf.shape, leaf.dtype, leaf.device, leaf.stride())
    return leaf


def signature(inputs: Inputs, labels: Any, modules: Sequence[nn.Module]) -> Signature:
    """The key under which a traced step is cached.

    It holds inputs, labels, which modules train, which parameters want a gradient, and how these lie in memory.
    """
    leaves: Iterable[Any] = [*inputs.leaves(), *leaves_of(labels)]
    flags: list[object] = [m.training for m in modules]
    flags += [(p.requires_grad, p.stride()) for m in modules for p in m._parameters.values() if p is not None]
    return (*map(describe_leaf, leaves), tuple(flags))
