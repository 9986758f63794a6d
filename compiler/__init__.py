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
    SiteError,
    WiringWarning,
)
from compiler.example import Inputs
from compiler.program import UpdateProgram, compile

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
    "SiteError",
    "UpdateProgram",
    "WiringWarning",
    "compile",
]
