"""Built-in models, ordinary ``nn.Module`` objects, and the texts that name them: ``resnet8:width=8``."""

from runtime.models.registry import MODELS, ModelError, ModelFactory, build_model

__all__ = ["MODELS", "ModelError", "ModelFactory", "build_model"]
