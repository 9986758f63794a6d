"""What a word's functions must give back: looked at while a step is traced, so that a wrong one is named when it is compiled."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from compiler.errors import CompileError
from compiler.flow import Flow
from wiring import ErrorwireError

NUMBERS = (DataDependentOutputException, DynamicOutputShapeException, GuardOnDataDependentSymNode)


@contextmanager
def calling(word: str, wanted: str, error: type[CompileError], given: Sequence[Tensor] = ()) -> Iterator[None]:
    """Call a word's own function inside: what it raises is named, and what it changes of ``given`` refused.

    Arguments:
        word: whose function and where, as a message begins.
        wanted: what it is given and what it must return.
        error: the kind of error that becomes of a failure.
    """
    versions = [value._version for value in given]
    try:
        yield
    except ErrorwireError:
        raise
    except NUMBERS as problem:
        raise error(
            f"{word} looks at numbers (a branch on them, float(), a mask as an index), and a step is traced once for all batches. "
            "Write it with operators on tensors, as torch.where."
        ) from problem
    except Exception as problem:
        reason = str(problem).strip().partition("\n")[0]
        raise error(f"{word} raised {type(problem).__name__}: {reason}. {wanted}") from problem
    if [value._version for value in given] != versions:
        raise error(f"{word} changes a tensor in place that others read as well. Return a new one, as a * b for a.mul_(b).")


def check_tensor(found: Any, word: str, what: str, like: Tensor, error: type[CompileError], dtypes: Sequence[torch.dtype]) -> None:
    """Refuse what is no tensor of ``like``'s shape and of one of ``dtypes`` (none given: any floating one).

    Raises:
        CompileError: as ``error``, with what was wanted and what came.
    """
    want = " or ".join(str(dtype) for dtype in dict.fromkeys(dtypes)) or "a floating dtype"
    wanted = f"Return {what} as a tensor of shape {list(like.shape)} and {want}."
    if not isinstance(found, Tensor):
        raise error(f"{word} gives a {type(found).__name__}. {wanted}")
    if found.shape != like.shape:
        raise error(f"{word} gives {what} of shape {list(found.shape)}. {wanted}")
    if found.dtype not in dtypes if dtypes else not found.is_floating_point():
        raise error(f"{word} gives {what} of {found.dtype}. {wanted}")


def check_flow(found: Any, word: str, what: str, like: Tensor, error: type[CompileError], dtypes: Sequence[torch.dtype]) -> None:
    """The same for the tensor of a flow."""
    if not isinstance(found, Flow):
        raise error(f"{word} gives a {_kind(found)} for {what}. Return it as Flow(value), or of a displacement by .times(...).")
    check_tensor(found.value, word, what, like, error, dtypes)


def _kind(found: Any) -> str:
    return "Tensor" if isinstance(found, Tensor) else type(found).__name__
