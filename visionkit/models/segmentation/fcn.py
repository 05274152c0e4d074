"""Fully convolutional networks (Long et al. 2014): FCN-32s, FCN-16s and FCN-8s."""

from collections import OrderedDict
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from visionkit.backbones.base import Backbone
from visionkit.backbones.initialization import initialize
from visionkit.backbones.vgg import VGG
from visionkit.errors import ConfigError
from visionkit.models.base import SegmentationModel
from visionkit.models.create import models
from visionkit.models.fully_connected_weights import copy_fully_connected
from visionkit.models.segmentation.load_matching import load_matching

_DEEPEST = "deepest"
"""Name of the deepest map's score layer, whatever its stride."""


class FCN(SegmentationModel):
    """FCN: scores of the deepest map, upsampled in steps; each step adds the scores of a shallower map.

    On a VGG, fc6 and fc7 are convolutions of 7x7 and 1x1 after the last pool. They are initialized with those of the
    classifier that the backbone's weights come from, if its file is on disk. Other backbones have no fc6 and fc7.
    Score layers are initialized with zeros, transposed convolutions with bilinear upsampling, and all of them train.

    The paper pads images by 100 pixels, does not pad fc6, and crops the result. Here fc6 is padded, so its map is
    aligned with the image. To train all strides at once, the authors scale pool4 by 0.01 and pool3 by 0.0001; these
    maps are not scaled here.

    Args:
        backbone: a VGG as in the paper, or another backbone with maps of the strides that are added.
        num_classes: K.
        head_channels: number of output channels of fc6 and fc7, on a VGG only (VGG: 4096).
        head_dropout: their dropout probability (VGG: 0.5).
        weights: path of a checkpoint, or None. All weights that fit are loaded, so that FCN-8s can be initialized from
            a trained FCN-16s (section 4.2).

    Attributes:
        skips: strides of the maps whose scores are added, deep to shallow.
        spec: primitives from which `create_model` builds the same structure.

    Raises:
        ConfigError: the backbone lacks a map of one of these strides, or its maps are not padded.
        CheckpointError: `weights` is not available or does not fit.
    """

    skips: ClassVar[tuple[int, ...]] = ()

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        head_channels: int = 4096,
        head_dropout: float = 0.5,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        *_, deepest = backbone.stages.values()
        if deepest.margin or deepest.stride % 2:
            raise ConfigError(f"FCN needs padded maps of even strides, which {backbone.name} does not have")
        self.backbone = backbone
        self.num_classes = num_classes
        self.stride = deepest.stride
        self._stages = {stride: _stage_of(backbone, stride) for stride in self.skips}
        self.head = _fully_connected(deepest.channels, head_channels, head_dropout) if _is_vgg(backbone) else None
        channels = {_DEEPEST: head_channels if self.head else deepest.channels}
        channels |= {f"s{stride}": backbone.stages[stage].channels for stride, stage in self._stages.items()}
        self.scores = nn.ModuleDict({name: nn.Conv2d(count, num_classes, 1) for name, count in channels.items()})
        steps = pairwise([self.stride, *self.skips, 1])
        self.upsample = nn.ModuleDict({f"to_s{new}": _upsampling(num_classes, old // new) for old, new in steps})
        for score in self.scores.values():
            nn.init.zeros_(score.get_parameter("weight"))
            nn.init.zeros_(score.get_parameter("bias"))
        initialize(self.upsample, "bilinear")
        if self.head is not None:
            copy_fully_connected(self.head, backbone)
        if weights is not None:
            load_matching(self, backbone, Path(weights))

    def _logits(self, x: Tensor) -> Tensor:
        maps = self.backbone(x)
        *_, deepest = maps.values()
        scores = self.scores[_DEEPEST](deepest if self.head is None else self.head(deepest))
        for stride, stage in self._stages.items():
            skip = maps[stage]
            if self.backbone.stages[stage].stride < stride:
                skip = functional.max_pool2d(skip, 2)
            scores = self.upsample[f"to_s{stride}"](scores) + self.scores[f"s{stride}"](skip)
        return self.upsample["to_s1"](scores)


@models.register("fcn32s")
class FCN32s(FCN):
    """FCN-32s: the scores of the deepest map, upsampled in one step; see `FCN` for the arguments.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("vgg11", weights="none")
        >>> model = vk.FCN32s(backbone, num_classes=21, head_channels=16).eval()
        >>> with torch.inference_mode():
        ...     model(torch.zeros(1, 3, 50, 70)).shape
        torch.Size([1, 21, 50, 70])
    """


@models.register("fcn16s")
class FCN16s(FCN):
    """FCN-16s: adds the scores of a map of stride 16 (VGG: pool4); see `FCN` for the arguments.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("vgg11", weights="none")
        >>> model = vk.FCN16s(backbone, num_classes=21, head_channels=16).eval()
        >>> with torch.inference_mode():
        ...     model(torch.zeros(1, 3, 50, 70)).shape
        torch.Size([1, 21, 50, 70])
    """

    skips: ClassVar[tuple[int, ...]] = (16,)


@models.register("fcn8s")
class FCN8s(FCN):
    """FCN-8s: adds the scores of maps of stride 16 and 8 (VGG: pool4 and pool3); see `FCN` for the arguments.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("vgg11", weights="none")
        >>> model = vk.FCN8s(backbone, num_classes=21, head_channels=16).eval()
        >>> with torch.inference_mode():
        ...     model(torch.zeros(1, 3, 50, 70)).shape
        torch.Size([1, 21, 50, 70])
    """

    skips: ClassVar[tuple[int, ...]] = (16, 8)


def _is_vgg(backbone: Backbone) -> bool:
    """Return whether the maps are a VGG's: those before the pools, except the deepest, that after the last pool."""
    return isinstance(backbone, VGG)


def _stage_of(backbone: Backbone, stride: int) -> str:
    """Return the stage that is added at `stride`; for a VGG that of half the stride, which is pooled."""
    *shallower, deepest = backbone.stages
    wanted = stride // 2 if _is_vgg(backbone) else stride
    matching = [stage for stage in shallower if backbone.stages[stage].stride == wanted]
    if not matching or backbone.stages[deepest].stride <= stride:
        raise ConfigError(
            f"FCN adds a map of stride {stride} to a deeper one: {backbone.name} as built has none, "
            f"only {', '.join(backbone.stages)}"
        )
    return matching[-1]


def _fully_connected(inputs: int, width: int, dropout: float) -> nn.Sequential:
    """Return VGG's fc6 and fc7 as convolutions."""
    layers = {
        "fc6": nn.Conv2d(inputs, width, 7, padding=3),
        "relu6": nn.ReLU(inplace=True),
        "drop6": nn.Dropout(dropout),
        "fc7": nn.Conv2d(width, width, 1),
        "relu7": nn.ReLU(inplace=True),
        "drop7": nn.Dropout(dropout),
    }
    head = nn.Sequential(OrderedDict(layers))
    initialize(head, "he")
    return head


def _upsampling(channels: int, factor: int) -> nn.ConvTranspose2d:
    """Return a layer from [B, K, h, w] to [B, K, factor * h, factor * w]; `factor` is even."""
    return nn.ConvTranspose2d(channels, channels, 2 * factor, stride=factor, padding=factor // 2, bias=False)
