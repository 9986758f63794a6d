"""What can go wrong while compiling. Every message names the thing, the reason and the way out."""

from wiring.errors import ErrorwireError


class CompileError(ErrorwireError):
    """Base class of what keeps a model and a wiring from being compiled together."""


class CaptureError(CompileError):
    """``torch.export`` cannot capture the model, or captures something whose gradient would be wrong."""


class OutputError(CompileError):
    """The model's output is not what the loss or the caller's ``output=`` expects."""


class SiteError(CompileError):
    """No site was found, or a pattern names none."""


class EdgeError(CompileError):
    """An error edge joins unknown sites, closes a cycle, or carries a synapse that cannot map its shapes."""


class CreditError(CompileError):
    """A site or a parameter cannot be credited: it would be left out, or get a silent zero."""


class LossError(CompileError):
    """The loss cannot be compiled: no scalar, or independent of the model's output."""


class ScheduleError(CompileError):
    """A schedule cannot be read, cannot be made, or breaks an order that the program needs."""


class DrawError(ErrorwireError):
    """A picture cannot be written where, or as what, it shall be."""


class LabelError(ErrorwireError):
    """Labels of the wrong dtype, shape or range for the compiled loss or signal."""


class InputError(ErrorwireError):
    """Inputs that the compiled program cannot take."""


class WiringWarning(UserWarning):
    """A wiring that compiles but that its paper advises against for this model."""


class WorldWarning(UserWarning):
    """What several processes compute otherwise than one process with the joint batch would."""
