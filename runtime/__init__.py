"""Run an update program: learn, train, measure."""

from runtime.alignment import Alignment, alignment
from runtime.allocator import keep_freed_memory
from runtime.attach import Attached, attach
from runtime.errors import BackendError, NonFiniteLoss, TrainingError, TrainingWarning
from runtime.executors.memory import measured_peak_bytes
from runtime.executors.watch import Timeline, measure_timeline
from runtime.learner import Learned, Learner
from runtime.metrics import History
from runtime.training import fit

__all__ = [
    "Alignment",
    "Attached",
    "BackendError",
    "History",
    "Learned",
    "Learner",
    "NonFiniteLoss",
    "Timeline",
    "TrainingError",
    "TrainingWarning",
    "alignment",
    "attach",
    "fit",
    "keep_freed_memory",
    "measure_timeline",
    "measured_peak_bytes",
]
