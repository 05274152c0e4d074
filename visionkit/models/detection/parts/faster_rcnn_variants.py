"""The three variants of Faster R-CNN: the modules between the backbone and the predictors of the two stages."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import nn

from visionkit.backbones.base import Backbone, Stage
from visionkit.errors import ConfigError
from visionkit.models.detection.parts.box_head import MultiLevelRoIAlign, StageHead, TwoLayerHead
from visionkit.models.detection.parts.fpn import FPN, SelectedMaps
from visionkit.models.detection.parts.rpn import SMOOTH_L1_BETA
from visionkit.models.fully_connected_weights import copy_fully_connected

SINGLE_STAGE = "s16"
"""The stage that "single" and "c4" work on: conv5_3 of VGG, C4 of ResNet."""


class Widths(NamedTuple):
    """Widths of the heads, see `FasterRCNN`; None is the published value of the variant."""

    fpn_channels: int
    head_channels: int | None
    head_dropout: float | None
    roi_size: int | None


@dataclass
class Parts:
    """The modules of a variant.

    Attributes:
        neck: module from the backbone's maps to those of the RPN.
        channels: channels of the neck's maps.
        anchor_sizes: published sides of the anchors for each of the neck's maps, in pixels.
        pool: RoI pooling on the neck's maps.
        head: module from a pooled region to a vector.
        head_channels: length of that vector.
        inside_only: see `RegionProposalNetwork`.
        smooth_l1_beta: see `RoIHeads`.
        initial_std: see `PooledRoIHeads`.
    """

    neck: nn.Module
    channels: int
    anchor_sizes: list[list[int]]
    pool: MultiLevelRoIAlign
    head: nn.Module
    head_channels: int
    inside_only: bool = False
    smooth_l1_beta: float = SMOOTH_L1_BETA
    initial_std: tuple[float, float] | None = None


def fpn(backbone: Backbone, widths: Widths) -> Parts:
    """Feature pyramid over the stages from stride 4 to 32, two fully connected layers."""
    stages = {name: stage for name, stage in backbone.stages.items() if 4 <= stage.stride <= 32}
    if not stages:
        raise ConfigError(f"form=fpn needs stages of stride 4 to 32; {backbone.name} has {_listed(backbone)}")
    strides = {name: stage.stride for name, stage in stages.items()}
    *_, deepest = strides.values()
    channels, size = widths.fpn_channels, widths.roi_size or 7
    head_channels = widths.head_channels or 1024
    return Parts(
        neck=FPN(stages, channels),
        channels=channels,
        anchor_sizes=[[8 * stride] for stride in (*strides.values(), 2 * deepest)],
        pool=MultiLevelRoIAlign(strides, size),
        head=TwoLayerHead(channels * size**2, head_channels, widths.head_dropout or 0.0),
        head_channels=head_channels,
    )


def single(backbone: Backbone, widths: Widths) -> Parts:
    """One map, two fully connected layers with dropout, initialized with those of the backbone's classifier, if any.

    With VGG's ImageNet weights, that is the initialization of Girshick 2015 (section 2.2). The box loss (equation 3)
    and the initialization of the predictors (section 2.3) are from there too.
    """
    stage = single_stage(backbone)
    stages = list(backbone.computed)
    idle = [name for deeper in stages[stages.index(SINGLE_STAGE) + 1 :] for name in backbone.stage_modules[deeper]]
    if any(parameter.requires_grad for name in idle for parameter in backbone.get_submodule(name).parameters()):
        raise ConfigError(
            f"form=single uses {backbone.name} up to {SINGLE_STAGE}; the stages behind it would never train.\n"
            f"Set model.backbone.out_stages=[{SINGLE_STAGE}], or use form=c4 with a ResNet"
        )
    size, head_channels = widths.roi_size or 7, widths.head_channels or 4096
    dropout = 0.5 if widths.head_dropout is None else widths.head_dropout
    head = TwoLayerHead(stage.channels * size**2, head_channels, dropout)
    copy_fully_connected(head, backbone)
    return Parts(
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


def c4(backbone: Backbone, widths: Widths) -> Parts:
    """C4 for proposals and RoIs; the stages behind it, removed from the backbone, as box head."""
    stage = single_stage(backbone)
    *_, last = backbone.computed.values()
    return Parts(
        head=StageHead(backbone.split(SINGLE_STAGE)),
        head_channels=last.channels,
        neck=SelectedMaps([SINGLE_STAGE]),
        channels=stage.channels,
        anchor_sizes=[[32, 64, 128, 256, 512]],
        pool=MultiLevelRoIAlign({SINGLE_STAGE: stage.stride}, widths.roi_size or 14),
    )


FORMS: dict[str, Callable[[Backbone, Widths], Parts]] = {"fpn": fpn, "single": single, "c4": c4}


def single_stage(backbone: Backbone) -> Stage:
    """Return the stage `SINGLE_STAGE` of a backbone.

    Raises:
        ConfigError: the backbone does not have it.
    """
    if SINGLE_STAGE not in backbone.stages:
        raise ConfigError(f"this model needs the stage {SINGLE_STAGE}; {backbone.name} has {_listed(backbone)}")
    return backbone.stages[SINGLE_STAGE]


def _listed(backbone: Backbone) -> str:
    return ", ".join(backbone.stages)
