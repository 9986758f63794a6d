"""What can go wrong with a page."""

from wiring.errors import ErrorwireError


class ReportError(ErrorwireError):
    """No page can be made of what was named, or a part of it cannot be shown."""
