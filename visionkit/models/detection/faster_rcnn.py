"""Faster R-CNN (Ren et al. 2015) on a feature pyramid, on one map, or with the backbone's last stage as box head."""

from typing import ClassVar, Literal

import torch
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

from visionkit.backbones.base import Backbone
from visionkit.errors import ConfigError
from visionkit.models.create import models
from visionkit.models.detection.parts.anchors import Anchors
from visionkit.models.detection.parts.box_head import PooledRoIHeads
from visionkit.models.detection.parts.faster_rcnn_variants import FORMS, Widths, checked_anchors
from visionkit.models.detection.parts.rpn import ProposalOptions, RegionProposalNetwork
from visionkit.models.detection.parts.torchvision_weights import PYRAMID_RENAMED, PublishedDetector
from visionkit.models.detection.parts.two_stage import TwoStageDetector, check_thresholds
from visionkit.ops.nms import NMSOptions
from visionkit.registry import suggest

PUBLISHED = PublishedDetector(
    url=FasterRCNN_ResNet50_FPN_Weights.COCO_V1.url,
    hash_without_epsilon="258fb6c6",
    renamed=(*PYRAMID_RENAMED, (r"^rpn\.head\.conv\.(weight|bias)$", r"rpn.head.conv.0.0.\1")),
    predictors={"roi_heads.box_predictor.cls_score.": 1, "roi_heads.box_predictor.bbox_pred.": 4},
)


@models.register("faster_rcnn")
class FasterRCNN(TwoStageDetector):
    """Two-stage detector: proposals from anchors, then classes and refined boxes for them.

    The defaults are those of torchvision's `fasterrcnn_resnet50_fpn`, whose results it repeats when given its weights
    (COCO box AP 37.0 after 26 epochs). Three forms:

    - "fpn": feature pyramid over the backbone's stages from stride 4 to 32 (Lin et al. 2016).
    - "single": one map of stride 16; for VGG-16 conv5_3 with fc6 and fc7 of 4096 as in Ren et al. 2015 (which keeps
      12000 / 6000 anchors before NMS and 2000 / 300 after, in training / testing). As there, anchors that cross the
      image's edge do not train, unless all do, and the second stage begins and weighs boxes as Fast R-CNN's.
    - "c4": proposals and regions on C4, the fifth stage of a ResNet as box head (He et al. 2015, appendix A).

    In training, `net(images, targets)` gives losses; in evaluation, `net(images)` gives predictions.

    Args:
        backbone: with a stage of stride 16 ("single", "c4"), or stages of stride 4 to 32 ("fpn").
        num_classes: K, without background; labels are 0..K-1.
        form: "fpn", "single" or "c4", see above.
        anchor_sizes: for each level the sides of its square anchors, in pixels of the network's input. None is the
            published choice: 8 times the stride of each level for "fpn" (32 to 512; Lin et al., section 4.1), 128,
            256, 512 for "single" (Ren et al., section 3.3), 32 to 512 for "c4" (Lin et al., section 5.1).
        anchor_ratios: height / width of the anchors at every level and size (Ren et al., section 3.3).
        rpn_pre_nms_top_n_train: anchors of each level and image that go into NMS in training.
        rpn_pre_nms_top_n_test: the same in evaluation.
        rpn_post_nms_top_n_train: proposals of each image after NMS in training (Ren et al.: 2000).
        rpn_post_nms_top_n_test: the same in evaluation (FPN: 1000).
        rpn_nms_iou: proposals that overlap a better one of their level by more are dropped (Ren et al.: .7).
        rpn_fg_iou: IoU with an object from which an anchor counts as it (Ren et al., section 3.1.2: .7).
        rpn_bg_iou: IoU below which an anchor counts as background (the same: .3).
        rpn_batch_size: anchors of each image in the loss (the same, section 3.1.3: 256).
        rpn_positive_fraction: share of objects among them at most (the same: .5).
        rpn_score_threshold: smallest objectness of a proposal, in 0..1.
        box_batch_size: proposals of each image in the loss of the second stage (FPN: 512; Girshick 2015: 64).
        box_positive_fraction: share of objects among them at most (Girshick 2015, section 2.3: .25).
        box_fg_iou: IoU from which a proposal counts as an object (the same: .5).
        box_bg_iou: IoU below which it counts as background (FPN: .5).
        box_score_threshold: a detection scores more, in 0..1; for evaluation, not for display.
        box_nms_iou: detections that overlap a better one of their class by more are dropped.
        box_detections: detections of an image at most (COCO: 100).
        NMS: which of overlapping detections stay, by its name in `visionkit.ops.nms`: "per_class",
            "class_agnostic", "soft_linear" or "soft_gaussian".
        soft_nms_sigma: how gently "soft_gaussian" lowers scores (Bodla et al. 2017: .5).
        fpn_channels: of every pyramid level (Lin et al., section 3: 256); only for "fpn".
        head_channels: of the two fully connected layers; None is 1024 for "fpn", 4096 for "single".
        head_dropout: share of values dropped after each of them; None is 0 for "fpn", .5 for "single" (as in VGG).
        roi_size: cells in each direction of the map that RoIAlign makes of a region; None is 7, for "c4" 14.
        weights: values for the whole network: "coco" (torchvision's file for ResNet-50 with FPN), the path of such a
            file, the path of a visionkit checkpoint, or None. Of torchvision's 90 ids 80 classes are COCO's; with
            another number of classes the predictor stays new.

    Attributes:
        spec: primitives from which `create_model` builds the same structure.

    Raises:
        ConfigError: options that contradict each other or the backbone.
        CheckpointError: `weights` cannot be had or does not fit.
    """

    task: ClassVar[str] = "detection"

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        form: Literal["fpn", "single", "c4"] = "fpn",
        anchor_sizes: list[list[int]] | None = None,
        anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0),
        rpn_pre_nms_top_n_train: int = 2000,
        rpn_pre_nms_top_n_test: int = 1000,
        rpn_post_nms_top_n_train: int = 2000,
        rpn_post_nms_top_n_test: int = 1000,
        rpn_nms_iou: float = 0.7,
        rpn_fg_iou: float = 0.7,
        rpn_bg_iou: float = 0.3,
        rpn_batch_size: int = 256,
        rpn_positive_fraction: float = 0.5,
        rpn_score_threshold: float = 0.0,
        box_batch_size: int = 512,
        box_positive_fraction: float = 0.25,
        box_fg_iou: float = 0.5,
        box_bg_iou: float = 0.5,
        box_score_threshold: float = 0.05,
        box_nms_iou: float = 0.5,
        box_detections: int = 100,
        nms_kind: str = "per_class",
        soft_nms_sigma: float = 0.5,
        fpn_channels: int = 256,
        head_channels: int | None = None,
        head_dropout: float | None = None,
        roi_size: int | None = None,
        weights: str | None = None,
    ) -> None:
        super().__init__(backbone, num_classes)
        check_thresholds("rpn", rpn_fg_iou, rpn_bg_iou)
        check_thresholds("box", box_fg_iou, box_bg_iou)
        if form not in FORMS:
            raise ConfigError(f"form={form!r}{suggest(form, FORMS)}")
        parts = FORMS[form](backbone, Widths(fpn_channels, head_channels, head_dropout, roi_size))
        self.neck = parts.neck
        self.rpn = RegionProposalNetwork(
            parts.channels,
            Anchors(checked_anchors(anchor_sizes or parts.anchor_sizes, parts.anchor_sizes), anchor_ratios),
            training=ProposalOptions(rpn_pre_nms_top_n_train, rpn_post_nms_top_n_train),
            testing=ProposalOptions(rpn_pre_nms_top_n_test, rpn_post_nms_top_n_test),
            nms_iou=rpn_nms_iou,
            foreground_iou=rpn_fg_iou,
            background_iou=rpn_bg_iou,
            batch_size=rpn_batch_size,
            positive_fraction=rpn_positive_fraction,
            score_threshold=rpn_score_threshold,
            inside_only=parts.inside_only,
        )
        self.roi_heads = PooledRoIHeads(
            parts.pool,
            parts.head,
            parts.head_channels,
            num_classes,
            foreground_iou=box_fg_iou,
            background_iou=box_bg_iou,
            batch_size=box_batch_size,
            positive_fraction=box_positive_fraction,
            nms=NMSOptions(nms_kind, box_nms_iou, box_detections, box_score_threshold, soft_nms_sigma),
            **parts.judging,
        )
        if weights is not None:
            PUBLISHED.load(self, backbone, weights)
        self.to(memory_format=torch.channels_last)
