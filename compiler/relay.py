"""Operators that carry more than an error: where the sender is, and where it shall be."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from compiler.flow import Flow
from compiler.port import Port


@dataclass(frozen=True)
class Sender:
    """The sending end of an edge, tensors in the site's shape ``[N * k, ...]`` and the dtype of ``E``.

    ``leaf`` and ``flow``, its value and what it sends as the step has them, are the compiler's. The output's activity is its
    pre-activation ``v`` (the logits), and its error what the rule's signal says.
    """

    leaf: Tensor | None
    flow: Flow
    dtype: torch.dtype

    @property
    def z(self) -> Tensor:
        """Its activity."""
        assert self.leaf is not None, "a step waits for it where a relay or a rule of @learning reads it"
        return self.leaf.detach().to(self.dtype)

    @property
    def error(self) -> Tensor:
        """What it sends, as an error of one sample."""
        return self.flow.plain().detach().to(self.dtype)

    @property
    def target(self) -> Tensor:
        """Where it shall be: ``z - error``."""
        return self.z - self.error


class Relay(ABC):
    """Base of operators whose transmission reads the sender's activity: ``d = T(E, z, e)``, in place of ``d = T(E, e)``.

    A subclass is registered by ``@operator`` like any operator. ``T`` need not be linear in ``e``, so that it is handed errors of
    single samples, and ``d`` is one. An operator that needs nothing but the error is none of these.
    """

    @abstractmethod
    def shape(self, spec: Any, source: Port, target: Port) -> tuple[int, ...]:
        """Of ``E``, one tensor: an operator with several packs them."""

    @abstractmethod
    def start(self, spec: Any, shape: tuple[int, ...], source: Port, generator: torch.Generator) -> Tensor:
        """First values, drawn from the generator, on the CPU."""

    @abstractmethod
    def transmit(self, spec: Any, synapse: Tensor, sender: Sender, source: Port, target: Port) -> Tensor:
        """The displacement at the receiver, in ``target.shape`` and the dtype of ``E``."""
