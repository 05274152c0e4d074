"""R-FCN (Dai et al. 2016): all layers see the whole image, and a region only reads from maps and averages."""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from visionkit.backbones.base import Backbone, Stage
from visionkit.errors import ConfigError
from visionkit.models.create import models
from visionkit.models.detection.parts.anchors import Anchors
from visionkit.models.detection.parts.faster_rcnn_variants import SINGLE_STAGE, checked_anchors, single_stage
from visionkit.models.detection.parts.position_sensitive import PROPOSALS, PositionSensitiveRoIHeads, ScoreMaps
from visionkit.models.detection.parts.rpn import ProposalOptions, RegionProposalNetwork
from visionkit.models.detection.parts.two_stage import TwoStageDetector, check_thresholds
from visionkit.models.load_model import load_model_weights
from visionkit.ops.nms import NMSOptions

LARGEST_STRIDE = 16
"""Pixels of a cell of the score maps (section 2: dilation instead of 32 pixels gains 2.6 points of mAP)."""

ANCHOR_SIZES = [[128, 256, 512]]
"""Ren et al. 2015, section 3.3."""


@models.register("rfcn")
class RFCN(TwoStageDetector):
    """Two-stage detector without layers of its own for each region (VOC07 mAP 79.5, ResNet-101 trained on 07+12).

    Regions are proposed on C4, as by Faster R-CNN, and judged on maps made from C5, which dilation brings to the same
    stride of 16 ("hole algorithm", section 2): `model.backbone.output_stride=16` with a ResNet from 50 layers on. On
    any other backbone both stages stand on its map of stride 16: `model.backbone.out_stages=[s16]`. As in Faster R-CNN
    (Ren et al. 2015, section 3.3), anchors that cross the image's edge do not train, unless all do.

    In training, `net(images, targets)` gives losses; in evaluation, `net(images)` gives predictions. Options called
    as those of `FasterRCNN` mean the same; where the defaults differ they are this paper's.

    Args:
        backbone: with the stage s16, and no map of a larger stride.
        num_classes: K, without background; labels are 0..K-1.
        cells: k; a region is read in k x k cells (section 2: 3).
        head_channels: of the 1x1 layer that brings C5 down (section 2: 1024).
        pooling: how a cell is read, "average" of the places of the map that it covers (section 2, equation 1), with its
            edges rounded to these, or "align" (after He et al. 2017).
        ohem: learn from the proposals that are judged worst (section 2, after Shrivastava et al. 2016), not from a
            sample.
        anchor_sizes: sides of the square anchors, in pixels of the network's input, one list; None is 128, 256, 512.
        anchor_ratios: height / width of the anchors.
        rpn_pre_nms_top_n_train: anchors of each image that go into NMS in training.
        rpn_pre_nms_top_n_test: the same in evaluation.
        rpn_post_nms_top_n_train: proposals of each image after NMS in training (section 3: 300).
        rpn_post_nms_top_n_test: the same in evaluation (section 3: 300).
        rpn_nms_iou, rpn_fg_iou, rpn_bg_iou: see `FasterRCNN`.
        rpn_batch_size, rpn_positive_fraction, rpn_score_threshold: likewise.
        box_batch_size: proposals of each image in the loss (section 2: 128).
        box_positive_fraction: share of objects among them at most, without `ohem`.
        box_fg_iou: IoU from which a proposal counts as an object (section 2: .5).
        box_bg_iou: IoU below which it counts as background (the same).
        box_score_threshold, box_detections, NMS, soft_nms_sigma: see `FasterRCNN`.
        box_nms_iou: detections that overlap a better one of their class by more are dropped (section 2: .3).
        weights: path of a visionkit checkpoint of such a network, or None. With another number of classes the score
            maps stay new.

    Attributes:
        spec: primitives from which `create_model` builds the same structure.

    Raises:
        ConfigError: options that contradict each other or the backbone.
        CheckpointError: `weights` cannot be read or does not fit.
    """

    task: ClassVar[str] = "detection"

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        cells: int = 3,
        head_channels: int = 1024,
        pooling: Literal["average", "align"] = "average",
        ohem: bool = True,
        anchor_sizes: list[list[int]] | None = None,
        anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0),
        rpn_pre_nms_top_n_train: int = 12000,
        rpn_pre_nms_top_n_test: int = 6000,
        rpn_post_nms_top_n_train: int = 300,
        rpn_post_nms_top_n_test: int = 300,
        rpn_nms_iou: float = 0.7,
        rpn_fg_iou: float = 0.7,
        rpn_bg_iou: float = 0.3,
        rpn_batch_size: int = 256,
        rpn_positive_fraction: float = 0.5,
        rpn_score_threshold: float = 0.0,
        box_batch_size: int = 128,
        box_positive_fraction: float = 0.25,
        box_fg_iou: float = 0.5,
        box_bg_iou: float = 0.5,
        box_score_threshold: float = 0.05,
        box_nms_iou: float = 0.3,
        box_detections: int = 100,
        nms_kind: str = "per_class",
        soft_nms_sigma: float = 0.5,
        weights: str | None = None,
    ) -> None:
        super().__init__(backbone, num_classes)
        check_thresholds("rpn", rpn_fg_iou, rpn_bg_iou)
        check_thresholds("box", box_fg_iou, box_bg_iou)
        if min(cells, head_channels) < 1:
            raise ConfigError(f"cells={cells}, head_channels={head_channels}: each must be at least 1")
        name, deepest = _checked_deepest(backbone)
        self.neck = ScoreMaps(SINGLE_STAGE, name, deepest.channels, head_channels, num_classes, cells)
        self.rpn = RegionProposalNetwork(
            single_stage(backbone).channels,
            Anchors(checked_anchors(anchor_sizes or ANCHOR_SIZES, ANCHOR_SIZES), anchor_ratios),
            training=ProposalOptions(rpn_pre_nms_top_n_train, rpn_post_nms_top_n_train),
            testing=ProposalOptions(rpn_pre_nms_top_n_test, rpn_post_nms_top_n_test),
            nms_iou=rpn_nms_iou,
            foreground_iou=rpn_fg_iou,
            background_iou=rpn_bg_iou,
            batch_size=rpn_batch_size,
            positive_fraction=rpn_positive_fraction,
            score_threshold=rpn_score_threshold,
            inside_only=True,
        )
        self.roi_heads = PositionSensitiveRoIHeads(
            pooling,
            cells,
            deepest.stride,
            num_classes,
            ohem,
            batch_size=box_batch_size,
            foreground_iou=box_fg_iou,
            background_iou=box_bg_iou,
            positive_fraction=box_positive_fraction,
            nms=NMSOptions(nms_kind, box_nms_iou, box_detections, box_score_threshold, soft_nms_sigma),
            smooth_l1_beta=1.0,
        )
        if weights is not None:
            load_model_weights(self, backbone, weights, ("neck.scores.",))
        self.to(memory_format=torch.channels_last)

    def _maps_of_proposals(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        return {PROPOSALS: maps[PROPOSALS]}


def _checked_deepest(backbone: Backbone) -> tuple[str, Stage]:
    """The stage that the score maps are made from.

    Raises:
        ConfigError: its cells are too coarse.
    """
    single_stage(backbone)
    *_, (name, deepest) = backbone.stages.items()
    if deepest.stride > LARGEST_STRIDE:
        dilated = "model.backbone.output_stride=16, or " if "output_stride" in backbone.spec else ""
        raise ConfigError(
            f"rfcn reads regions from a map of stride {LARGEST_STRIDE}; {name} of {backbone.name} has stride "
            f"{deepest.stride}\nset {dilated}model.backbone.out_stages=[{SINGLE_STAGE}]"
        )
    return name, deepest
