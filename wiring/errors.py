"""The root of every error that errorwire raises on purpose, and the ones about wirings themselves."""


class ErrorwireError(Exception):
    """Base class: the message names the thing, the reason and the way out."""


class WiringError(ErrorwireError):
    """A wiring, or the text that names one, says something that cannot be."""


class OptionError(WiringError):
    """An option text such as ``rec_lra:depth=2`` cannot be read."""


class PluginWarning(UserWarning):
    """An installed distribution's words or presets cannot be loaded."""
