"""What can go wrong between processes."""

from wiring.errors import ErrorwireError


class RendezvousError(ErrorwireError):
    """The processes of a run do not find each other."""


class PeerLost(ErrorwireError):
    """Another process of the run was killed, has failed, or no longer answers."""


class DivergedRanks(ErrorwireError):
    """Processes that must hold the same program, parameters and error synapses do not."""
