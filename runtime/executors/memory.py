"""Memory that a step really holds, counted tensor by tensor while it runs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from compiler import UpdateProgram
from runtime.executors.first import first_values
from runtime.executors.serial import Serial


def measured_peak_bytes(program: UpdateProgram) -> int:
    """Run the example's step once by ``serial``, and count the bytes of activations alive at its worst moment.

    Counted is every storage that an operator returns until nothing holds it any more; not the program's inputs, and not its
    results: what ``program.report().peak_activation_bytes`` foresees. What an operator takes for itself while it runs (as some
    convolutions do) is not seen. Nothing of the model changes.
    """
    run, inputs = Serial().prepare(program.lowered), first_values(program)
    counting, device = _Counting(inputs), program.lowered.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []), counting:
        results = run(inputs)
    return counting.peak(without=results)


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes behind every operator which storages are alive."""

    def __init__(self, inputs: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._known = {value.untyped_storage()._cdata for value in inputs}
        self._alive: dict[int, StorageWeakRef] = {}  # by number, in the order of their making
        self._sizes: list[int] = []
        self._moments: list[tuple[int, ...]] = []

    def __torch_dispatch__(
        self, operator: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        made = operator(*args, **(kwargs or {}))
        there = {reference.cdata for reference in self._alive.values()} | self._known
        for storage in (leaf.untyped_storage() for leaf in pytree.tree_leaves(made) if isinstance(leaf, Tensor)):
            if storage._cdata not in there:
                there.add(storage._cdata)
                self._alive[len(self._sizes)] = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
                self._sizes.append(storage.nbytes())
        self._forget()
        self._moments.append(tuple(self._alive))
        return made

    def _forget(self) -> None:
        gone = [number for number, reference in self._alive.items() if reference.expired()]  # type: ignore[no-untyped-call]
        for number in gone:
            del self._alive[number]

    def peak(self, without: Iterable[Tensor]) -> int:
        """The most bytes alive behind an operator, storages of ``without`` not counted."""
        self._forget()
        kept = {value.untyped_storage()._cdata for value in without}
        left = {number for number, reference in self._alive.items() if reference.cdata in kept}
        sizes = [0 if number in left else size for number, size in enumerate(self._sizes)]
        return max(sum(sizes[number] for number in moment) for moment in self._moments)
