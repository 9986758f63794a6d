"""The values that a program was compiled with, to run its step on without a learner."""

import torch.utils._pytree as pytree
from torch import Tensor

from compiler import UpdateProgram
from compiler.joint import samples_input


def first_values(program: UpdateProgram) -> list[Tensor]:
    """Inputs of the example's step in the layout's order: the model's own values, fresh error synapses, the example's batch."""
    layout, model = program.lowered.layout, program.model
    parameters = dict(model.named_parameters(remove_duplicate=False))
    buffers = dict(model.named_buffers(remove_duplicate=False))
    synapses = program.start()
    own = [parameters[name] for name in layout.parameters] + [buffers[name] for name in layout.buffers]
    labels = [leaf for leaf in pytree.tree_leaves(program.labels) if isinstance(leaf, Tensor)]
    count = [] if program.lowered.world is None else [samples_input(program.lowered.batch, program.lowered.device)]
    return [*own, *(synapses[name] for name in layout.synapses), *program.inputs.tensors(), *labels, *count]
