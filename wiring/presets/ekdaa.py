"""Error-kernel driven activation alignment, EKDAA ("A Robust Backpropagation-Free Framework for Images").

``d_i = E_i e_{i+1}`` through kernels of the forward weights' shape (eq. 5), ``y_i = phi(h_i - beta d_i)`` (eq. 3),
``e_i = z_i - y_i`` (eq. 6), ``dW = e z^T`` (eq. 7), ``dE`` from ``dW^T`` (eq. 8).

Eq. 8 prints ``dE = -gamma dW^T``; the released code uses ``+gamma``. The sign decides: on a digits MLP the printed sign
reaches 23 % training accuracy, the code's 100 %. The code's is the default, ``sign=-1`` the printed one. ``E`` starts Glorot
uniform as in the paper; the code starts it at ``W`` (``.but(synapse__init__kind="like_forward")``). Pooling lies on the edge: the
paper says "up-sampling", the code is bilinear (``upsampling="bilinear"``); ``unpool``, pooling's own linearisation, is the default.
``update="hebbian"`` is eq. 7 to the letter where a normalisation follows the synapse. Each update is re-projected to norm 1; the
paper gives no norm, and the code divides convolution updates by their channels instead. ``beta`` is the code's 0.9: a chain of L
sites sends ``beta^L`` of the output's error to its first one, and 0.1 leaves a 19-layer ResNet's first targets below float32
rounding.
"""

from typing import Literal

from wiring.spec import ErrorKernel, GlorotUniform, Mirror, Target
from wiring.topology import Pairwise
from wiring.wiring import Rule, Wiring


def ekdaa(
    beta: float = 0.9,
    gamma: float = 0.1,
    sign: Literal[1, -1] = 1,
    upsampling: Literal["unpool", "nearest", "bilinear"] = "unpool",
    update: Literal["local_gradient", "hebbian"] = "local_gradient",
) -> Wiring:
    """Local targets from the next layer's error, carried by learned kernels of the forward weights' shape."""
    rule = Rule(
        topology=Pairwise(),
        synapse=Mirror(init=GlorotUniform(), upsampling=upsampling),
        credit=Target(beta=beta),
        plasticity=ErrorKernel(gamma=gamma, sign=sign),
        update=update,
    )
    return Wiring(name="ekdaa", rules=(rule,), reprojection=1.0)
