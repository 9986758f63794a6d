"""The thread's own state while a step runs: no autograd, no autocast, since all of that is in the program already."""

from types import TracebackType

import torch

_CASTS = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCPU).add(torch._C.DispatchKey.AutocastCUDA)


class plain:
    """Operators go below autograd and autocast, whatever the caller has switched on, and segments run as they are written.

    A class rather than nested context managers: entering takes a microsecond, not ten.
    """

    def __enter__(self) -> None:
        self._optimises = torch._C._get_graph_executor_optimize()
        self._grad = torch.is_grad_enabled()
        self._guards = (torch._C._AutoDispatchBelowAutograd(), torch._C._ExcludeDispatchKeyGuard(_CASTS))
        torch._C._set_graph_executor_optimize(False)
        torch._C._set_grad_enabled(False)
        for guard in self._guards:
            guard.__enter__()  # type: ignore[no-untyped-call]

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        for guard in reversed(self._guards):
            guard.__exit__(kind, value, traceback)
        torch._C._set_grad_enabled(self._grad)
        torch._C._set_graph_executor_optimize(self._optimises)
