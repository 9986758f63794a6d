"""Compile a model and a wiring into a scheduled update program."""

from compiler.errors import (
    CaptureError,
    CompileError,
    CreditError,
    DrawError,
    EdgeError,
    InputError,
    LabelError,
    LossError,
    OutputError,
    ScheduleError,
    SiteError,
    WiringWarning,
    WorldWarning,
)
from compiler.example import Inputs
from compiler.program import UpdateProgram, compile, verify
from compiler.roofline import Roofline, roofline
from compiler.schedule import Free, Launch, Record, Schedule, Wait
from compiler.world import World

__all__ = [
    "CaptureError",
    "CompileError",
    "CreditError",
    "DrawError",
    "EdgeError",
    "Free",
    "InputError",
    "Inputs",
    "LabelError",
    "Launch",
    "LossError",
    "OutputError",
    "Record",
    "Roofline",
    "Schedule",
    "ScheduleError",
    "SiteError",
    "UpdateProgram",
    "Wait",
    "WiringWarning",
    "World",
    "WorldWarning",
    "compile",
    "roofline",
    "verify",
]
