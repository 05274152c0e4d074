"""Backbones: networks that compute feature maps of images, one file per family."""

from visionkit.backbones.base import Backbone, Stage, backbones
from visionkit.backbones.create import create_backbone

__all__ = ["Backbone", "Stage", "backbones", "create_backbone"]
