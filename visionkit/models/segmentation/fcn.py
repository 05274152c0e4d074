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

_HEAD = "deepest"
"""What scores and enlarging layers of the head are called, whatever its stride."""


class FCN(SegmentationModel):
    """Scores of the deepest map, enlarged step by step; at each step the scores of a shallower map are added.

    On a VGG the classifier's fc6 and fc7 are convolutions of 7x7 and 1x1 behind the last pool, and begin with the
    values of the classifier that the backbone's come from, where those are at hand. Other backbones are scored on their
    deepest map. Scores begin at zero, transposed convolutions as bilinear enlarging, all of them learn.

    The paper pads images by 100 pixels, convolves fc6 without padding and crops; here fc6 is padded, so that its map
    stands where the image stands.

    Args:
        backbone: a VGG as in the paper, or any other with maps of the strides that are added.
        num_classes: K.
        head_channels: of fc6 and fc7, on a VGG only (VGG: 4096).
        head_dropout: share of their values dropped (VGG: .5).
        weights: values to begin with: the path of a checkpoint, from which all that fits is taken, so that FCN-8s can
            begin with a trained FCN-16s (section 4.2); or None.

    Attributes:
        skips: strides of the maps that are added, deep to shallow.
        spec: primitives from which `create_model` builds the same structure.

    Raises:
        ConfigError: the backbone has no map of a stride, or its maps are not padded.
        CheckpointError: `weights` cannot be had or does not fit.
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
            raise ConfigError(f"FCN needs padded maps of even strides, and {backbone.name} has others")
        self.backbone = backbone
        self.num_classes = num_classes
        self.stride = deepest.stride
        self._stages = {stride: _stage_of(backbone, stride) for stride in self.skips}
        self.head = _fully_connected(deepest.channels, head_channels, head_dropout) if _is_vgg(backbone) else None
        channels = {_HEAD: head_channels if self.head else deepest.channels}
        channels |= {f"s{stride}": backbone.stages[stage].channels for stride, stage in self._stages.items()}
        self.scores = nn.ModuleDict({name: nn.Conv2d(count, num_classes, 1) for name, count in channels.items()})
        steps = pairwise([self.stride, *self.skips, 1])
        self.enlarge = nn.ModuleDict({f"to_s{to}": _enlarging(num_classes, since // to) for since, to in steps})
        for score in self.scores.values():
            nn.init.zeros_(score.get_parameter("weight"))
            nn.init.zeros_(score.get_parameter("bias"))
        initialize(self.enlarge, "bilinear")
        if self.head is not None:
            copy_fully_connected(self.head, backbone)
        if weights is not None:
            load_matching(self, backbone, Path(weights))

    def _logits(self, x: Tensor) -> Tensor:
        maps = self.backbone(x)
        *_, deepest = maps.values()
        scores = self.scores[_HEAD](deepest if self.head is None else self.head(deepest))
        for stride, stage in self._stages.items():
            skip = maps[stage]
            if self.backbone.stages[stage].stride < stride:
                skip = functional.max_pool2d(skip, 2)
            scores = self.enlarge[f"to_s{stride}"](scores) + self.scores[f"s{stride}"](skip)
        return self.enlarge["to_s1"](scores)


@models.register("fcn32s")
class FCN32s(FCN):
    """FCN-32s: the scores of the deepest map, enlarged at once."""


@models.register("fcn16s")
class FCN16s(FCN):
    """FCN-16s: with the scores of a map of stride 16 (VGG: pool4)."""

    skips: ClassVar[tuple[int, ...]] = (16,)


@models.register("fcn8s")
class FCN8s(FCN):
    """FCN-8s: with those of stride 16 and 8 (VGG: pool4 and pool3)."""

    skips: ClassVar[tuple[int, ...]] = (16, 8)


def _is_vgg(backbone: Backbone) -> bool:
    """Whether the maps are those of a VGG: taken before the pools, but for the deepest, which is the last pool's."""
    return isinstance(backbone, VGG)


def _stage_of(backbone: Backbone, stride: int) -> str:
    """The stage that is added at `stride`; of a VGG the one before, which is pooled then."""
    *before, deepest = backbone.stages
    wanted = stride // 2 if _is_vgg(backbone) else stride
    found = [stage for stage in before if backbone.stages[stage].stride == wanted]
    if not found or backbone.stages[deepest].stride <= stride:
        raise ConfigError(
            f"FCN adds a map of stride {stride} to a deeper one: {backbone.name} as it is built has none, "
            f"only {', '.join(backbone.stages)}"
        )
    return found[-1]


def _fully_connected(inputs: int, width: int, dropout: float) -> nn.Sequential:
    """VGG's fc6 and fc7 as convolutions."""
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


def _enlarging(channels: int, factor: int) -> nn.ConvTranspose2d:
    """From [B, K, h, w] to [B, K, factor * h, factor * w]; `factor` is even."""
    return nn.ConvTranspose2d(channels, channels, 2 * factor, stride=factor, padding=factor // 2, bias=False)
