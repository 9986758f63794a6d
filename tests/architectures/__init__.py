"""A zoo of small networks, each written the way people publish them: the compiled program against autograd on each."""

from .attention import ATTENTION
from .case import Case
from .convolutional import CONVOLUTIONAL
from .losses import LOSSES
from .mobile import MOBILE
from .residual import RESIDUAL
from .writing import WRITING

_ALL = (*WRITING, *CONVOLUTIONAL, *MOBILE, *RESIDUAL, *ATTENTION, *LOSSES)
CASES: dict[str, Case] = {case.name: case for case in _ALL}

__all__ = ["CASES", "Case"]
