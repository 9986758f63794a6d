"""An error on its way: a tensor and the factor that makes it what the papers call an error of one sample.

Carrying the factor instead of multiplying by it keeps linear wirings free of extra passes: the output's error
``e = N dloss/dv`` starts as ``dloss/dv`` with factor ``N``, which the batch mean of an update divides out again.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Flow:
    """``value * scale`` is the per-sample error."""

    value: Tensor
    scale: float = 1.0

    def plain(self) -> Tensor:
        return self.value if self.scale == 1.0 else self.value * self.scale

    def times(self, factor: float) -> "Flow":
        return self if factor == 1.0 else Flow(self.value, self.scale * factor)

    def over(self, divisor: float) -> "Flow":
        """Divided: ``N`` over ``N`` is 1, where ``N`` times ``1 / N`` need not be."""
        return self if divisor == 1.0 else Flow(self.value, self.scale / divisor)


def plus(one: Flow | None, other: Flow) -> Flow:
    """The sum of two flows; nothing plus a flow is that very flow."""
    if one is None:
        return other
    if one.scale == other.scale:
        return Flow(one.value + other.value, one.scale)
    return Flow(one.value + other.value * (other.scale / one.scale), one.scale)
