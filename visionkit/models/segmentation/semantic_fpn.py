"""Semantic FPN (Kirillov et al. 2019): a light segmentation head on a feature pyramid."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from visionkit.backbones.base import Backbone
from visionkit.backbones.initialization import initialize
from visionkit.errors import ConfigError
from visionkit.models.base import SegmentationModel
from visionkit.models.create import models
from visionkit.models.fpn import FPN, pyramid_stages
from visionkit.models.load_model import load_model_weights
from visionkit.ops.upsampling import bilinear

GROUPS = 32
"""Groups of group normalization (Wu & He 2018, section 4)."""


@models.register("semantic_fpn")
class SemanticFPN(SegmentationModel):
    """Semantic FPN (Kirillov et al. 2019): the levels of a feature pyramid are brought to stride 4 and added.

    A `MultiHead` with `share_pyramid` puts it beside `mask_rcnn` on one pyramid, which is the paper's Panoptic FPN.

    Args:
        backbone: source of the feature maps, with stages of stride 4 to 32, each twice the one before.
        num_classes: K.
        fpn_channels: channels of every level of the pyramid (Lin et al. 2016, section 3).
        branch_channels: channels of the head (section 3, figure 3), a multiple of 32.
        weights: path of a checkpoint of the whole model, or None. With another number of classes the last layer stays
            randomly initialized.

    Attributes:
        spec: primitives from which `create_model` builds the same structure.

    Raises:
        ConfigError: the backbone lacks a stage, or a number of channels is not possible.
        CheckpointError: `weights` is not available or does not fit.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> model = vk.SemanticFPN(vk.create_backbone("resnet18", weights="none"), num_classes=2).eval()
        >>> with torch.inference_mode():
        ...     model(torch.zeros(1, 3, 50, 70)).shape
        torch.Size([1, 2, 50, 70])
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        fpn_channels: int = 256,
        branch_channels: int = 128,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        stages = pyramid_stages(backbone, "semantic_fpn")
        strides = [stage.stride for stage in stages.values()]
        if any(2 * stride != next_ for stride, next_ in pairwise(strides)):
            raise ConfigError(f"semantic_fpn: each stride must be twice the one before; {backbone.name} has {strides}")
        if branch_channels < 1 or branch_channels % GROUPS:
            raise ConfigError(f"branch_channels={branch_channels} must be a multiple of {GROUPS}")
        self.backbone, self.num_classes = backbone, num_classes
        self.finest_stride, self.stride = strides[0], strides[-1]
        self.neck = FPN(stages, fpn_channels)
        self.branches = nn.ModuleList(_Branch(fpn_channels, branch_channels, steps) for steps in range(len(strides)))
        self.classifier = nn.Conv2d(branch_channels, num_classes, 1)
        for part in (self.branches, self.classifier):
            initialize(part, "he")
        if weights is not None:
            load_model_weights(self, backbone, weights, ("classifier.",))

    def _logits(self, x: Tensor) -> Tensor:
        levels = self.neck(self.backbone(x))
        maps = [branch(levels[name]) for branch, name in zip(self.branches, self.neck.stages, strict=True)]
        logits: Tensor = self.classifier(torch.stack(maps).sum(dim=0))
        return bilinear(logits, self.finest_stride)


class _Branch(nn.Module):
    """Path of a level to the finest stride (section 3, figure 3): convolution, norm, ReLU and doubling in each step.

    Args:
        channels: channels of the level.
        width: channels of the result.
        steps: how often the size doubles; the finest level has one convolution and keeps its size.
    """

    def __init__(self, channels: int, width: int, steps: int) -> None:
        super().__init__()
        self.doubles = steps > 0
        inputs = [channels, *[width] * (max(steps, 1) - 1)]
        self.blocks = nn.ModuleList(_block(below, width) for below in inputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, width, H, W] at the finest stride, of a level [B, channels, h, w]."""
        for block in self.blocks:
            x = block(x)
            if self.doubles:
                x = bilinear(x)
        return x


def _block(below: int, width: int) -> nn.Sequential:
    convolution = nn.Conv2d(below, width, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(GROUPS, width), nn.ReLU(inplace=True))
