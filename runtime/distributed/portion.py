"""Which samples of a joint batch are a process's own."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Portion:
    """The share of process ``rank`` among ``size`` in every joint batch: runs of samples, the first processes one more."""

    rank: int = 0
    size: int = 1

    def samples(self, joint: int) -> int:
        """How many of ``joint`` samples are this process's."""
        return joint // self.size + (self.rank < joint % self.size)

    def of(self, places: Tensor) -> Tensor:
        """This process's part of ``places`` ``[B]``. Where there is none, the first sample is borrowed: it counts for nothing."""
        joint = len(places)
        count = self.samples(joint)
        start = self.rank * (joint // self.size) + min(self.rank, joint % self.size)
        return places[start : start + count] if count else places[:1]


WHOLE = Portion()
