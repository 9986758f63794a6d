"""Run an update program: learn, train, measure."""

from runtime.alignment import Alignment, alignment
from runtime.errors import BackendError, NonFiniteLoss, TrainingError
from runtime.learner import Learned, Learner

__all__ = ["Alignment", "alignment", "BackendError", "Learned", "Learner", "NonFiniteLoss", "TrainingError"]
