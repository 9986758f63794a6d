"""One model trained by several processes: finding each other, sharing the work, keeping and checking what they hold."""

from runtime.distributed.errors import DivergedRanks, PeerLost, RendezvousError
from runtime.distributed.joining import joined
from runtime.distributed.peers import ALONE, Peers, peers_of
from runtime.distributed.portion import WHOLE, Portion

__all__ = ["ALONE", "WHOLE", "DivergedRanks", "PeerLost", "Peers", "Portion", "RendezvousError", "joined", "peers_of"]
