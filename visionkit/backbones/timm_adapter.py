"""Adapter for timm models, under the name `timm/<model>`."""

from collections.abc import Sequence
from typing import Any

from visionkit.backbones.base import backbones
from visionkit.backbones.timm_features import TimmBackbone
from visionkit.backbones.timm_network import TimmNetwork
from visionkit.backbones.timm_pre_logits import TimmPreLogits


@backbones.register("timm/")
def timm_backbone(
    name: str, out_stages: Sequence[str] | None = None, *, pre_logits: bool = False, **options: Any
) -> TimmNetwork:
    """Return a timm model.

    Args:
        name: `timm/<model>`.
        out_stages: see `Backbone`.
        pre_logits: whether the network returns the features that its classifier takes, not feature maps.
        **options: for `timm.create_model` (`drop_path_rate=0.1`, `dynamic_img_size=True`).

    Raises:
        ConfigError: timm is not installed, has no such model, or cannot extract features from it.

    Example:
        >>> import visionkit as vk
        >>> maps = vk.create_backbone("timm/mobilenetv3_small_050", weights="none")
        >>> features = vk.create_backbone("timm/mobilenetv3_small_050", weights="none", pre_logits=True)
        >>> list(maps.stages.values())[-1].channels, features.stages["pre_logits"].channels
        (288, 1024)
    """
    return TimmPreLogits(name, out_stages, **options) if pre_logits else TimmBackbone(name, out_stages, **options)
