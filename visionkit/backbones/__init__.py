"""Networks that turn pictures into feature maps: one contract, one file a family."""

import importlib
import pkgutil

from visionkit.backbones.contract import Backbone, Stage
from visionkit.backbones.create import create_backbone
from visionkit.backbones.registry import backbones

for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_module.name)

__all__ = ["Backbone", "Stage", "backbones", "create_backbone"]
