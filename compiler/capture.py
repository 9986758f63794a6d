"""nn.Module -> functional graph of ATen operators, by torch.export."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn
from torch.export.graph_signature import InputKind, OutputKind

from compiler.composites import only_called
from compiler.errors import CaptureError, OutputError
from compiler.example import Inputs
from compiler.guards import (
    leave_no_folder,
    one_batch_norm,
    plain_dtypes,
    quiet_export,
    refuse_cumulative_averages,
    refuse_no_grad_under_autocast,
    refuse_own_functions,
)
from compiler.whole import whole_activations

InputOf = Literal["parameter", "buffer", "constant", "user"]
SPLITS = {"split", "split_with_sizes", "chunk", "unbind", "tensor_split"}
Output = int | str | Callable[[Any], Tensor] | None


@dataclass(frozen=True)
class Capture:
    """The model's forward pass.

    ``inputs``: what each placeholder stands for and its name (for a parameter or buffer: the model's own, tied weights under
    their first). ``mutations``: new values of buffers, as nodes. ``output``: the node of the tensor that the loss reads.
    """

    graph: fx.Graph
    inputs: dict[fx.Node, tuple[InputOf, str]]
    constants: dict[str, Tensor]
    mutations: dict[str, fx.Node]
    output: fx.Node

    def parameter(self, node: fx.Node) -> str | None:
        """The parameter that a placeholder stands for."""
        kind, name = self.inputs.get(node, ("", ""))
        return name if kind == "parameter" else None


class Picked(nn.Module):
    """The model with its one tensor picked: what is exported."""

    def __init__(self, model: nn.Module, output: Output) -> None:
        super().__init__()
        self.model = model
        self._output = output

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        return pick(self.model(*args, **kwargs), self._output)


def pick(value: Any, output: Output) -> Tensor:
    """The tensor that ``output`` names in what the model returned.

    Raises:
        OutputError: no such part, or several tensors and no ``output``.
    """
    found = value
    if callable(output):
        try:
            found = output(value)
        except Exception as error:
            raise OutputError(
                f"The function given as output= fails on the {type(value).__name__} that the model returns: {error}. "
                f"Pick {_names(value) or 'a tensor [N, ...]'}."
            ) from error
    elif output is not None:
        found = _part(value, output)
    if isinstance(found, Tensor):
        return found
    names = _names(value)
    raise OutputError(
        f"The model returns a {type(value).__name__} and not one tensor, so the loss does not know what to read. "
        f"Pass output=... to compile: {names or 'a function that picks the tensor'}."
    )


def _part(value: Any, output: int | str) -> Any:
    try:
        if isinstance(output, str) and not isinstance(value, dict):
            return getattr(value, output)
        return value[output]
    except (AttributeError, KeyError, IndexError, TypeError) as error:
        raise OutputError(
            f"output={output!r} names nothing in the {type(value).__name__} that the model returns. "
            f"Use {_names(value) or 'a function that picks the tensor'}."
        ) from error


def _names(value: Any) -> str:
    if isinstance(value, dict):
        return "one of " + ", ".join(repr(key) for key in value)
    if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        return f"an index from 0 to {len(value) - 1}"
    fields = getattr(value, "__dataclass_fields__", None) or getattr(value, "_fields", None)
    return "one of " + ", ".join(repr(name) for name in fields) if fields else ""


def capture(model: nn.Module, inputs: Inputs, output: Output) -> Capture:
    """Export the model as it stands (its training flags included).

    Raises:
        CaptureError: torch.export refuses the model, or an own autograd.Function would lose its backward.
        OutputError: ``output`` picks no tensor.
    """
    refuse_cumulative_averages(model)
    leave_no_folder()
    wrapped = Picked(model, output)
    try:
        with (
            warnings.catch_warnings(),
            quiet_export(),
            refuse_own_functions(),
            refuse_no_grad_under_autocast(),
            plain_dtypes(),
            one_batch_norm(),
            whole_activations(),
        ):
            warnings.simplefilter("ignore")
            program = torch.export.export(wrapped, inputs.args, inputs.keywords(), strict=False)
            _detach_no_grad_blocks(program.graph_module)
            with only_called(program):
                program = program.run_decompositions({})
    except (CaptureError, OutputError):
        raise
    except Exception as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        itself = _fails_by_itself(wrapped, inputs)
        if itself is not None:
            raise CaptureError(
                f"Model {type(model).__name__} fails on the example by itself: {itself}. Pass example=(x, y) with an x that model(x) takes."
            ) from error
        raise CaptureError(
            f"Model {type(model).__name__} cannot be captured by torch.export: {reason} "
            "Rewrite the data-dependent part (control flow on tensor values, .item(), own C++ operators), "
            "or compile the part of the model without it."
        ) from error
    return _read(program, model)


def _fails_by_itself(model: nn.Module, inputs: Inputs) -> str | None:
    """What the model says when it is simply called; its buffers and the random state stay as they are."""
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    try:
        with torch.no_grad(), torch.random.fork_rng(), one_batch_norm():
            torch.func.functional_call(model, buffers, inputs.args, inputs.keywords())
    except Exception as error:
        return str(error).strip().split("\n")[0] or type(error).__name__
    return None


def _read(program: torch.export.ExportedProgram, model: nn.Module) -> Capture:
    own = _own_names(model)
    graph, signature = program.graph_module.graph, program.graph_signature
    placeholders = {node.name: node for node in graph.nodes if node.op == "placeholder"}
    inputs: dict[fx.Node, tuple[InputOf, str]] = {}
    constants: dict[str, Tensor] = {}
    for spec in signature.input_specs:
        node, target = placeholders[spec.arg.name], (spec.target or "").removeprefix("model.")
        if spec.kind is InputKind.PARAMETER or spec.kind is InputKind.BUFFER:
            inputs[node] = ("parameter" if spec.kind is InputKind.PARAMETER else "buffer", own[target])
        elif spec.kind is InputKind.CONSTANT_TENSOR:
            inputs[node] = ("constant", target)
            constants[target] = program.constants[spec.target or ""]
        else:
            inputs[node] = ("user", node.name)
    mutations: dict[str, fx.Node] = {}
    nodes = {node.name: node for node in graph.nodes}
    picked = None
    for out in signature.output_specs:
        if out.kind is OutputKind.BUFFER_MUTATION:
            mutations[own[(out.target or "").removeprefix("model.")]] = nodes[out.arg.name]
        elif out.kind is OutputKind.USER_OUTPUT:
            picked = nodes[out.arg.name]
        else:
            raise CaptureError(
                f"Model {type(model).__name__} changes its input {out.target!r} in place, so a step could not be repeated. "
                "Clone the input in forward."
            )
    if picked is None:
        raise CaptureError(f"Model {type(model).__name__} returns no tensor that depends on its input. Return one.")
    _split_apart(graph)
    graph.eliminate_dead_code()
    return Capture(graph, inputs, constants, mutations, picked)


def _own_names(model: nn.Module) -> dict[str, str]:
    """Every name of a parameter or buffer -> its first name, so that tied weights are one."""
    first: dict[int, str] = {}
    names: dict[str, str] = {}
    for listing in (model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False)):
        for name, tensor in listing:
            names[name] = first.setdefault(id(tensor), name)
    return names


def _detach_no_grad_blocks(module: nn.Module) -> None:
    """Write the effect of ``torch.no_grad()`` blocks into the graph, since decomposing forgets them."""
    for child in module.modules():
        if not isinstance(child, fx.GraphModule):
            continue
        for node in list(child.graph.nodes):
            if node.op == "call_function" and str(node.target) == "wrap_with_set_grad_enabled" and node.args[0] is False:
                for user in list(node.users):
                    _detach_after(child.graph, user)
        child.recompile()


def _split_apart(graph: fx.Graph) -> None:
    """Give each part of a split tensor its own split, so that regions which read different parts share only its input."""
    for node in list(graph.nodes):
        if node.op == "call_function" and getattr(node.target, "_opname", "") in SPLITS:
            for user in list(node.users)[1:]:
                with graph.inserting_before(user):
                    user.args = (graph.node_copy(node), *user.args[1:])


def _detach_after(graph: fx.Graph, node: fx.Node) -> None:
    with graph.inserting_after(node):
        detached = graph.call_function(torch.ops.aten.detach.default, (node,))
    detached.meta = dict(node.meta)
    node.replace_all_uses_with(detached, delete_user_cb=lambda user: user is not detached)
