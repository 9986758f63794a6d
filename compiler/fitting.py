"""Whether a batch fits a program that was compiled for an example."""

from collections.abc import Mapping
from typing import Any

import torch.utils._pytree as pytree
from torch import Tensor

from compiler.errorgraph import ErrorParameter
from compiler.errors import CompileError, EdgeError, InputError, LabelError
from compiler.example import Inputs
from wiring import ErrorwireError

Sums = tuple[tuple[str, ...], ...]


def check_inputs(example: Inputs, inputs: Inputs) -> None:
    """Refuse another number of inputs, or other dtypes or ranks.

    Raises:
        InputError: naming the first that differs.
    """
    want, got = example.leaves(), inputs.leaves()
    if len(want) != len(got):
        raise InputError(
            f"The program was compiled for {len(want)} inputs and got {len(got)}. Compile with example=(x, y) of this form."
        )
    for number, (a, b) in enumerate(zip(want, got, strict=True)):
        _check_kind(a, b, f"Input {number}", InputError)


def check_labels(example: Any, labels: Any) -> None:
    """The same of labels.

    Raises:
        LabelError: naming the first that differs.
    """
    wanted, found = pytree.tree_leaves(example), pytree.tree_leaves(labels)
    if len(wanted) != len(found):
        raise LabelError(
            f"The program was compiled for {len(wanted)} label tensors and got {len(found)}. Compile with such labels."
        )
    for number, (a, b) in enumerate(zip(wanted, found, strict=True)):
        _check_kind(a, b, "Labels" if len(wanted) == 1 else f"Label tensor {number}", LabelError)


def check_synapses(own: Mapping[str, ErrorParameter], asked: Mapping[str, ErrorParameter]) -> None:
    """Refuse a shape of batch that asks for error synapses of other shapes.

    Raises:
        EdgeError: naming the first one.
    """
    for name, parameter in asked.items():
        known = own.get(name)
        if known is None or known.shape != parameter.shape:
            raise EdgeError(
                f"A batch of this shape asks for error synapse {name!r} of shape {list(parameter.shape)}, but the program's is "
                f"{list(known.shape) if known else 'absent'}. Keep the example's sizes, or use Pointwise() or Kernel(), which fit any."
            )


def check_sums(example: Sums, sums: Sums) -> None:
    """Processes whose shards have other shapes must put the same into the same buckets.

    Raises:
        CompileError: they would not.
    """
    if sums != example:
        raise CompileError(
            "A batch of this shape finishes its updates in another order than the example's, so processes with shards of other shapes "
            "would sum what does not belong together. Pad all shards to one shape."
        )


def _check_kind(want: Any, got: Any, what: str, error: type[ErrorwireError]) -> None:
    if not isinstance(want, Tensor) or not isinstance(got, Tensor):
        if type(want) is not type(got):
            raise error(
                f"{what} is a {type(got).__name__}, but the program was compiled for a {type(want).__name__}. Pass the same kind."
            )
        return
    if want.dtype != got.dtype:
        raise error(
            f"{what} has dtype {got.dtype}, but the program was compiled for {want.dtype}. Convert it with .to({want.dtype})."
        )
    if want.dim() != got.dim():
        raise error(
            f"{what} has shape {list(got.shape)}, but the program was compiled for {want.dim()} axes as in {list(want.shape)}."
        )
