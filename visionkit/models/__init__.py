"""Networks: plain torch modules without Lightning, one file a paper, found by name."""

from visionkit.models.registry import create_model, import_all, models

import_all(__name__)

__all__ = ["create_model", "models"]
