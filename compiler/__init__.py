"""Compile a model and a wiring into a scheduled update program."""

from compiler.errors import (
    CaptureError,
    CompileError,
    CreditError,
    EdgeError,
    InputError,
    LabelError,
    LossError,
    OutputError,
    ScheduleError,
    SiteError,
    WiringWarning,
)
from compiler.example import Inputs
from compiler.program import UpdateProgram, compile, verify
from compiler.roofline import Roofline, roofline
from compiler.schedule import Schedule

__all__ = [
    "CaptureError",
    "CompileError",
    "CreditError",
    "EdgeError",
    "InputError",
    "Inputs",
    "LabelError",
    "LossError",
    "OutputError",
    "Roofline",
    "Schedule",
    "ScheduleError",
    "SiteError",
    "UpdateProgram",
    "WiringWarning",
    "compile",
    "roofline",
    "verify",
]
