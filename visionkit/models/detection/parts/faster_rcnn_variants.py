"""The three variants of Faster R-CNN: neck, RoI pooling and box head on a backbone."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import nn

from visionkit.backbones.base import Backbone, Stage
from visionkit.errors import ConfigError
from visionkit.models.detection.parts.box_head import MultiLevelRoIAlign, StageHead, TwoLayerHead
from visionkit.models.detection.parts.rpn import SMOOTH_L1_BETA
from visionkit.models.detection.parts.selected_maps import SelectedMaps
from visionkit.models.fpn import FPN, pyramid_stages
from visionkit.models.fully_connected_weights import copy_fully_connected

SINGLE_STAGE = "s16"
"""Stage of the variants "single" and "c4": conv5_3 of VGG, C4 of ResNet."""


class HeadSizes(NamedTuple):
    """Sizes that the user may choose, see `FasterRCNN`. None is the published value of the variant."""

    fpn_channels: int
    head_channels: int | None
    head_dropout: float | None
    roi_size: int | None


@dataclass
class Variant:
    """Parts of a variant.

    Attributes:
        neck: from the backbone's maps to those of the RPN.
        channels: channels of the neck's maps.
        anchor_sizes: published sides of the anchors for each of the neck's maps, in pixels.
        pool: pools regions from the neck's maps.
        head: from a pooled region to a vector.
        head_channels: length of that vector.
        inside_only: see `RegionProposalNetwork`.
        smooth_l1_beta: see `RoIHeads`.
        initial_std: see `PooledRoIHeads`.
    """

    neck: nn.Module
    channels: int
    anchor_sizes: list[list[int]]
    pool: nn.Module
    head: nn.Module
    head_channels: int
    inside_only: bool = False
    smooth_l1_beta: float = SMOOTH_L1_BETA
    initial_std: tuple[float, float] | None = None


def fpn(backbone: Backbone, sizes: HeadSizes) -> Variant:
    """Return the variant with a feature pyramid over the stages of stride 4 to 32 and two fully connected layers.

    Raises:
        ConfigError: the backbone has no such stage.
    """
    stages = pyramid_stages(backbone, "variant=fpn")
    strides = {name: stage.stride for name, stage in stages.items()}
    *_, deepest = strides.values()
    channels, size = sizes.fpn_channels, sizes.roi_size or 7
    head_channels = sizes.head_channels or 1024
    return Variant(
        neck=FPN(stages, channels),
        channels=channels,
        anchor_sizes=[[8 * stride] for stride in (*strides.values(), 2 * deepest)],
        pool=MultiLevelRoIAlign(strides, size),
        head=TwoLayerHead(channels * size**2, head_channels, sizes.head_dropout or 0.0),
        head_channels=head_channels,
    )


def single(backbone: Backbone, sizes: HeadSizes) -> Variant:
    """Return the variant with one map and two fully connected layers with dropout.

    The layers are initialized with those of the classifier that the backbone's weights come from, if there is one. With
    ImageNet weights of a VGG, this is Girshick's initialization (2015, section 2.2). The loss of the boxes (equation 3)
    and the initialization of the prediction layers (section 2.3) are his, too.

    Raises:
        ConfigError: the backbone has no such stage, or trainable stages behind it, which would get no gradient.
    """
    stage = single_stage(backbone)
    stages = list(backbone.computed)
    unused = [name for deeper in stages[stages.index(SINGLE_STAGE) + 1 :] for name in backbone.stage_modules[deeper]]
    if any(parameter.requires_grad for name in unused for parameter in backbone.get_submodule(name).parameters()):
        raise ConfigError(
            f"variant=single uses {backbone.name} up to {SINGLE_STAGE}; the stages behind it would get no gradient\n"
            f"set model.backbone.out_stages=[{SINGLE_STAGE}], or use variant=c4 with a ResNet"
        )
    size, head_channels = sizes.roi_size or 7, sizes.head_channels or 4096
    dropout = 0.5 if sizes.head_dropout is None else sizes.head_dropout
    head = TwoLayerHead(stage.channels * size**2, head_channels, dropout)
    copy_fully_connected(head, backbone)
    return Variant(
        neck=SelectedMaps([SINGLE_STAGE]),
        channels=stage.channels,
        anchor_sizes=[[128, 256, 512]],
        pool=MultiLevelRoIAlign({SINGLE_STAGE: stage.stride}, size),
        head=head,
        head_channels=head_channels,
        inside_only=True,
        smooth_l1_beta=1.0,
        initial_std=(0.01, 0.001),
    )


def c4(backbone: Backbone, sizes: HeadSizes) -> Variant:
    """Return the variant with C4 as the map of both stages, and the backbone's stages behind it as box head.

    Raises:
        ConfigError: the backbone has no such stage.
    """
    stage = single_stage(backbone)
    *_, last = backbone.computed.values()
    return Variant(
        head=StageHead(backbone.split(SINGLE_STAGE)),
        head_channels=last.channels,
        neck=SelectedMaps([SINGLE_STAGE]),
        channels=stage.channels,
        anchor_sizes=[[32, 64, 128, 256, 512]],
        pool=MultiLevelRoIAlign({SINGLE_STAGE: stage.stride}, sizes.roi_size or 14),
    )


VARIANTS: dict[str, Callable[[Backbone, HeadSizes], Variant]] = {"fpn": fpn, "single": single, "c4": c4}


def single_stage(backbone: Backbone) -> Stage:
    """Return the stage called `SINGLE_STAGE`.

    Raises:
        ConfigError: the backbone does not return it.
    """
    if SINGLE_STAGE not in backbone.stages:
        raise ConfigError(f"this model needs the stage {SINGLE_STAGE}; {backbone.name} has {_listed(backbone)}")
    return backbone.stages[SINGLE_STAGE]


def _listed(backbone: Backbone) -> str:
    return ", ".join(backbone.stages)
