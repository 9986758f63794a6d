"""What can go wrong while a program runs."""

from wiring.errors import ErrorwireError


class NonFiniteLoss(ErrorwireError):
    """The loss of a step is infinite or not a number; nothing of the step was taken over, but where a graph includes the optimiser."""


class BackendError(ErrorwireError):
    """No executor of that name, or one that cannot run this step, on this device, on so many streams or with this optimiser."""


class TrainingError(ErrorwireError):
    """A training run is asked for something that cannot be."""
