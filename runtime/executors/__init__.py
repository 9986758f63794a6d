"""Executors: how a traced step is run."""

from runtime.executors.serial import Executor, executor, serial

__all__ = ["Executor", "executor", "serial"]
