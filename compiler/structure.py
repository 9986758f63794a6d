"""What of a model its traced step cannot see change: which modules it has, and their hooks."""

from torch import nn
from torch.utils.hooks import RemovableHandle

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class Structure:
    """A model's modules and hooks as they were when this was made."""

    def __init__(self, model: nn.Module) -> None:
        modules = list(model.modules())
        self._children = [(m._modules, tuple(m._modules.values())) for m in modules if m._modules]
        self._hooks = [getattr(m, name) for m in modules for name in HOOKS]
        self._had = [(hooks, tuple(hooks.values())) for hooks in self._hooks if hooks]
        self._count, self._given = sum(map(len, self._hooks)), RemovableHandle.next_id

    def unchanged(self) -> bool:
        """Whether every module has the same children and the same hooks. Places without a hook are counted only where torch has given
        out a handle since the last look, as there are many."""
        if RemovableHandle.next_id != self._given:
            if sum(map(len, self._hooks)) > self._count:
                return False
            self._given = RemovableHandle.next_id
        return all(tuple(now.values()) == then for now, then in (*self._children, *self._had))
