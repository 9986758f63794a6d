"""What can go wrong while a program runs."""

from wiring.errors import ErrorwireError


class NonFiniteLoss(ErrorwireError):
    """The loss of a step is infinite or not a number; nothing of the step was taken over, but where a graph includes the optimiser.

    Arguments:
        reason: in a sentence, what is not finite, and where. ``advice``: what became of the step, and the way out.
    """

    def __init__(self, reason: str, advice: str = "") -> None:
        super().__init__(f"{reason} {advice}".strip())
        self.reason, self.advice = reason, advice


class BackendError(ErrorwireError):
    """No executor of that name, or one that cannot run this step, on this device, on so many streams or with this optimiser."""


class TrainingError(ErrorwireError):
    """A training run is asked for something that cannot be."""


class TrainingWarning(UserWarning):
    """A training run is asked for something that can be and is hardly meant."""


def first_line(error: BaseException) -> str:
    """The first line of what another library's error says, for a message of ours; its type's name where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
