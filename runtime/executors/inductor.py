"""The step's one region compiled by ``torch.compile``: fused loops in place of single operators. Opt-in: compiling takes long."""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from compiler.lowered import Lowered
from compiler.reuse import apart
from compiler.schedule import Schedule
from runtime.errors import BackendError, first_line
from runtime.executors.executor import Executor, Hooks, Run, no_hooks, one_process


class Inductor(Executor):
    """One stream; operators are fused, so numbers agree within rounding. Random numbers are torch's own."""

    name = "inductor"

    def prepare(self, lowered: Lowered, schedule: Schedule | None = None, hooks: Hooks | None = None) -> Run:
        no_hooks(self.name, hooks)
        one_process(self.name, lowered, "orders operators as it finds best")
        if self.streams != 1:
            raise BackendError(f"Backend 'inductor' compiles a single stream, not {self.streams}. Leave streams out.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compiled = torch.compile(apart(lowered.module), fullgraph=True, dynamic=False, options={"fallback_random": True})

        def run(inputs: Sequence[Tensor]) -> list[Tensor]:
            with torch.no_grad(), torch.autocast(lowered.device.type, enabled=False):
                try:
                    return list(compiled(*inputs))
                except torch._dynamo.exc.TorchDynamoException as problem:
                    raise BackendError(
                        f"torch.compile cannot compile this step ({first_line(problem)}). Use backend='serial'."
                    ) from problem

        return run
