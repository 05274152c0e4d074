"""Models: plain torch modules without Lightning, one file per paper."""

from visionkit.models.create import create_model, models

__all__ = ["create_model", "models"]
