"""The experiment behind weight transport: what changes if one weight does, while forward pass and output signal stay as they are."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx

from compiler.effects import task
from compiler.lowered import Lowered
from runtime import Learner
from runtime.learner import named_results

Results = Mapping[str, dict[str, Tensor]]


class Held(fx.Interpreter):
    """Runs a traced step in which the forward tasks read a parameter's own value and all others read ``value``.

    What is computed from parameters alone (a transpose, a sign) is kept in both versions, since forward and backward tasks share it.
    """

    def __init__(self, lowered: Lowered, name: str, value: Tensor) -> None:
        super().__init__(lowered.module, garbage_collect_values=False)
        self.parameters = dict(zip(self.graph.find_nodes(op="placeholder"), lowered.layout.parameters, strict=False))
        self.name, self.value = name, value
        self.replaced: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if n in self.parameters:
            self.replaced[n] = self.value if self.parameters[n] == self.name else result
        elif n.op == "call_function" and n.all_input_nodes and all(source in self.replaced for source in n.all_input_nodes):
            args, kwargs = fx.map_arg((n.args, n.kwargs), self.replaced.__getitem__)
            self.replaced[n] = self.call_function(n.target, args, kwargs)
        return result

    def map_nodes_to_values(self, args: Any, n: fx.Node) -> Any:
        forward = task(n).startswith("forward:") or all(source in self.replaced for source in n.all_input_nodes)
        return fx.map_arg(args, lambda node: self.env[node] if forward or node not in self.replaced else self.replaced[node])


def results_with(learner: Learner, x: Tensor, y: Tensor, name: str, value: Tensor) -> Results:
    """Updates and credits of the step that a program was compiled for, with another value for one parameter behind the forward pass."""
    probed = learner.program.probed()
    inputs = [tensor.detach().clone() for tensor in learner._inputs(probed, x, y)]
    torch.manual_seed(1)
    return named_results(probed, Held(probed, name, value).run(*inputs))
