"""Run an update program: learn, train, measure."""

from runtime.errors import BackendError, NonFiniteLoss, TrainingError
from runtime.learner import Learned, Learner

__all__ = ["BackendError", "Learned", "Learner", "NonFiniteLoss", "TrainingError"]
