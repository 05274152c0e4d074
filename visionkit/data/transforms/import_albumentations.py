"""Import of albumentations without its check for updates. Other modules import albumentations from here."""

import os

# Otherwise albumentations asks its package index for a newer version when it is imported.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations

__all__ = ["albumentations"]
