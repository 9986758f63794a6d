"""Models by text: a built-in name with options, or the factory of the user's own module."""

import difflib
import importlib
import inspect
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, get_args, get_origin

import torch
from torch import nn

from runtime.models.cnn import cnn
from runtime.models.dkp import dkp_alexnet, dkp_cnn
from runtime.models.drtp import drtp_conv, drtp_mlp
from runtime.models.ekdaa import ekdaa_cifar, ekdaa_fashion
from runtime.models.mlp import mlp
from runtime.models.preact import preact_resnet18
from runtime.models.rec_lra import rec_lra_mlp, rec_lra_residual_mlp, rec_lra_resnet18
from runtime.models.resnet import IMAGENET_TYPES, cifar_resnet, imagenet_resnet
from runtime.models.wide import wide_resnet
from runtime.room import too_much
from wiring.errors import ErrorwireError
from wiring.text import Option, parse_call

ModelFactory = Callable[..., nn.Module]
"""Called as ``factory(input_shape, classes, **options)``: a module from ``[N, *input_shape]`` to ``[N, classes]``."""

MODELS: dict[str, ModelFactory] = {
    "mlp": mlp,
    "cnn": cnn,
    **{f"resnet{depth}": cifar_resnet(depth) for depth in (8, 14, 20, 32, 44, 56, 110)},
    **{f"resnet{depth}": imagenet_resnet(depth) for depth in IMAGENET_TYPES},
    "preact_resnet18": preact_resnet18,
    "wide_resnet": wide_resnet,
    "ekdaa_fashion": ekdaa_fashion,
    "ekdaa_cifar": ekdaa_cifar,
    "dkp_cnn": dkp_cnn,
    "dkp_alexnet": dkp_alexnet,
    "drtp_mlp": drtp_mlp,
    "drtp_conv": drtp_conv,
    "rec_lra_mlp": rec_lra_mlp,
    "rec_lra_residual_mlp": rec_lra_residual_mlp,
    "rec_lra_resnet18": rec_lra_resnet18,
}

# Of what an option counts, and of layers: each is an object, so that a billion would keep the machine busy for hours.
MOST, DEEPEST = 10**8, 10**4
SMALL = 10**6  # the product of all counts up to which a model's size is not looked at

# What build_model itself gives to a factory; never an option.
GIVEN = ("input_shape", "classes")


class ModelError(ErrorwireError):
    """A text names no model, or the model it names cannot be built."""


def build_model(text: str, input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """The model that ``text`` names, newly initialised.

    Args:
        text: ``NAME`` or ``NAME:key=value,...`` of a built-in model, or ``package.module:factory`` with or without
            ``:key=value,...`` for any callable that returns a module. The latter is imported with the current
            directory on the path, and gets ``input_shape`` and ``classes`` if its signature has them.
        input_shape: shape of one input without the batch, ``(C, H, W)`` for images.
        classes: number of outputs.

    Raises:
        ModelError: no such model, module or factory, an option that the model does not take or cannot work with,
            or a factory whose result is not an ``nn.Module``.
        OptionError: the options are not of the form ``key=value``.
    """
    module, call = parse_model(text)
    name, options = parse_call(call)
    factory = _built_in(name) if module is None else _import(text, module, name)
    _check_names(text, factory, options)
    if module is None:
        _check_values(text, factory, options)
        _check_room(text, factory, input_shape, classes, options)
    return _call(text, factory, input_shape, classes, options)


def parse_model(text: str) -> tuple[str | None, str]:
    """The module that a model's text names, ``None`` for a built-in model, and the call with its options, as ``parse_call`` reads it.

    What decides whether a text is trusted asks this too: nothing is imported but the module that is named here.
    """
    head, _, rest = (part.strip() for part in text.partition(":"))
    attribute, colon, tail = (part.strip() for part in rest.partition(":"))
    if head in MODELS or not attribute or "=" in attribute:
        return None, text
    return head, f"{attribute}{colon}{tail}"


def _built_in(name: str) -> ModelFactory:
    if name not in MODELS:
        close = difflib.get_close_matches(name, MODELS)
        hint = f"Did you mean {' or '.join(map(repr, close))}? " if close else ""
        raise ModelError(
            f"Model {name!r} is not known. {hint}The built-in models are {', '.join(MODELS)}. "
            f"Write package.module:factory for one of your own."
        )
    return MODELS[name]


def _import(text: str, module_name: str, attribute: str) -> ModelFactory:
    here = str(Path.cwd())
    # As with `python -m`: in front, and there to stay, since a factory may import its neighbours when it is called.
    if here not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(module_name)
    except Exception as problem:  # a module of the user's may raise anything while it is imported
        raise ModelError(
            f"Model {text!r}: module {module_name!r} cannot be imported ({type(problem).__name__}: {problem}). "
            f"It is looked for in {here} and among the installed packages; check its name and that it imports alone."
        ) from problem
    factory: object = getattr(module, attribute, None)
    if factory is None:
        close = difflib.get_close_matches(attribute, vars(module))
        hint = f"Did you mean {' or '.join(map(repr, close))}?" if close else "Name a function or class that it defines."
        raise ModelError(f"Model {text!r}: module {module_name!r} has no {attribute!r}. {hint}")
    if not callable(factory):
        raise ModelError(
            f"Model {text!r}: {attribute!r} is of type {type(factory).__name__} and cannot be called. "
            f"Name a function or class that returns an nn.Module."
        )
    return factory


def _parameters(text: str, factory: ModelFactory) -> tuple[dict[str, inspect.Parameter], bool]:
    """The parameters that can be given by name, and whether any other name is taken as well (``**options``)."""
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError) as problem:
        raise ModelError(
            f"Model {text!r}: the signature of its factory cannot be read ({problem}). Wrap it in a Python function."
        ) from problem
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    named = {name: parameter for name, parameter in parameters.items() if parameter.kind in by_name}
    return named, any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())


def _check_names(text: str, factory: ModelFactory, options: Mapping[str, Option]) -> None:
    named, any_name = _parameters(text, factory)
    accepted = [name for name in named if name not in GIVEN]
    for name in options:
        if name in GIVEN:
            raise ModelError(f"Model {text!r}: {name!r} follows from the data and is no option. Leave it out.")
        if name not in accepted and not any_name:
            known = f"Its options are {', '.join(accepted)}." if accepted else "It has no options; leave them out."
            raise ModelError(f"Model {text!r} has no option {name!r}. {known}")


def _check_values(text: str, factory: ModelFactory, options: Mapping[str, Option]) -> None:
    """Every integer option of a built-in model is a number of something and so at least one."""
    named, _ = _parameters(text, factory)
    for name, value in options.items():
        kind = named[name].annotation
        if kind is int and (type(value) is not int or value < 1):
            expected = "a whole number from 1 on"
        elif type(value) is int and value > (most := DEEPEST if name == "depth" else MOST):
            expected = f"a whole number from 1 to {most}"
        elif kind is float and type(value) not in (int, float):
            expected = "a number"
        elif kind is str and type(value) is not str:
            expected = "a name"
        elif kind is bool and type(value) is not bool:
            expected = "true or false"
        elif get_origin(kind) is Literal and value not in get_args(kind):
            expected = " or ".join(map(str, get_args(kind)))
        else:
            continue
        raise ModelError(f"Model {text!r}: option {name!r} is {value!r}. Give {expected}.")


def _check_room(
    text: str, factory: ModelFactory, input_shape: tuple[int, ...], classes: int, options: Mapping[str, Option]
) -> None:
    """Build what may be large without numbers in it, which costs nothing at any size, and look how large it is."""
    counts = [value for value in options.values() if type(value) is int]
    if math.prod((*input_shape, classes, *counts)) < SMALL:
        return
    try:
        with torch.device("meta"), torch.random.fork_rng(devices=()):
            model = _call(text, factory, input_shape, classes, options)
    except ErrorwireError:
        return  # told when it is built in earnest
    excess = too_much(sum(tensor.numel() * tensor.itemsize for tensor in (*model.parameters(), *model.buffers())))
    if excess is not None:
        raise ModelError(
            f"Model {text!r} for inputs of shape {input_shape} and {classes} classes has parameters of {excess}. "
            "Choose a smaller one."
        )


def _call(text: str, factory: ModelFactory, input_shape: tuple[int, ...], classes: int, options: Mapping[str, Option]) -> nn.Module:
    named, any_name = _parameters(text, factory)
    given = dict(zip(GIVEN, (input_shape, classes), strict=True))
    wanted = {name: value for name, value in given.items() if any_name or name in named}
    for name, parameter in named.items():
        if parameter.default is parameter.empty and name not in wanted and name not in options:
            raise ModelError(
                f"Model {text!r}: nothing is given to the parameter {name!r} of its factory, which has no default. "
                "Call it input_shape or classes, give it a default, or set it behind a second colon."
            )
    try:
        model: object = factory(**wanted, **options)
    except ErrorwireError:
        raise
    except Exception as problem:  # a factory of the user's may raise anything
        reason = str(problem) if isinstance(problem, ValueError) else f"{type(problem).__name__}: {problem}"
        raise ModelError(
            f"Model {text!r} cannot be built for inputs of shape {input_shape} and {classes} classes: {reason}."
        ) from problem
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"Model {text!r} gave an object of type {type(model).__name__}, not an nn.Module. Let its factory return one."
        )
    return model
