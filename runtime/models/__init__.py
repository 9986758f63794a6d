"""Built-in models and layers, ordinary ``nn.Module`` objects; texts that name models (``resnet8:width=8``) and first weights."""

from runtime.models.initial import draw_weights, parse_init
from runtime.models.layers import LocallyConnected2d, PseudoConv2d
from runtime.models.registry import MODELS, ModelError, ModelFactory, build_model

__all__ = [
    "MODELS",
    "LocallyConnected2d",
    "ModelError",
    "ModelFactory",
    "PseudoConv2d",
    "build_model",
    "draw_weights",
    "parse_init",
]
