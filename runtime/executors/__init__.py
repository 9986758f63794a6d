"""Ways to run an update program."""

from runtime.executors.executor import Executor
from runtime.executors.registry import EXECUTORS, executor

__all__ = ["EXECUTORS", "Executor", "executor"]
