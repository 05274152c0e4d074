"""Albumentations without its call home: the package is imported from here and nowhere else."""

import os

# Without this albumentations asks its package index for a newer release when it is imported.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations

__all__ = ["albumentations"]
