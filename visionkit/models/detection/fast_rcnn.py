"""Fast R-CNN (Girshick 2015): given proposals judged on the features of the whole image."""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from visionkit.backbones.base import Backbone
from visionkit.errors import ConfigError
from visionkit.models.create import models
from visionkit.models.detection.parts.batch import ImageBatch, check_images, pad_to_batch
from visionkit.models.detection.parts.box_head import PooledRoIHeads, RoIMaxPool
from visionkit.models.detection.parts.external_proposals import ExternalProposalDetector
from visionkit.models.detection.parts.faster_rcnn_variants import SINGLE_STAGE, Widths, single
from visionkit.models.detection.parts.truncated_svd import TruncatedHead
from visionkit.models.load_model import load_model_weights
from visionkit.ops.nms import NMSOptions

SIZE_MULTIPLE = 16
"""Pixels; the batch is padded to whole cells of the map."""


@models.register("fast_rcnn")
class FastRCNN(ExternalProposalDetector):
    """Classes and refined boxes for given proposals, from one map of stride 16 (VGG-16: conv5_3).

    The second stage is that of Faster R-CNN's form "single", and so are its names in a state dict. Where the backbone's
    values are VGG's ImageNet weights, fc6 and fc7 begin with those of its classifier (section 2.2). The paper's biases
    learn at twice the rate (section 2.3); here one rate serves all.

    In training, `net(images, targets)` gives losses, `targets` with `proposals`; in evaluation
    `net(images, proposals=...)` gives predictions.

    Args:
        backbone: with a stage of stride 16, and nothing behind it.
        num_classes: K, without background; labels are 0..K-1.
        pooling: "max" (section 2.1) or "align" (He et al. 2017).
        roi_size: cells in each direction of the map that is made of a region (section 2.1: 7).
        head_channels: of fc6 and fc7 (VGG-16: 4096).
        head_dropout: share of values dropped after each of them (VGG: .5).
        box_batch_size: proposals of each image in the loss (section 2.3: 64).
        box_positive_fraction: share of objects among them at most (the same: .25).
        box_fg_iou: IoU from which a proposal counts as an object (the same: .5).
        box_bg_iou: IoU below which it counts as background (the same: .5) ...
        box_bg_from: ... if it reaches this (the same: .1); images without objects give any as background.
        box_score_threshold: a detection scores more, in 0..1; for evaluation, not for display.
        box_nms_iou: detections that overlap a better one of their class by more are dropped (the author's code: .3).
        box_detections: detections of an image at most.
        NMS: which of overlapping detections stay, see `FasterRCNN`.
        soft_nms_sigma: how gently "soft_gaussian" lowers scores.
        svd: ranks to which fc6 and fc7 are cut in evaluation (section 4.4: [1024, 256] for VGG-16); None keeps them.
        weights: path of a visionkit checkpoint of such a network, or None. With another number of classes the predictor
            stays new.

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
        pooling: Literal["max", "align"] = "max",
        roi_size: int = 7,
        head_channels: int = 4096,
        head_dropout: float = 0.5,
        box_batch_size: int = 64,
        box_positive_fraction: float = 0.25,
        box_fg_iou: float = 0.5,
        box_bg_iou: float = 0.5,
        box_bg_from: float = 0.1,
        box_score_threshold: float = 0.05,
        box_nms_iou: float = 0.3,
        box_detections: int = 100,
        nms_kind: str = "per_class",
        soft_nms_sigma: float = 0.5,
        svd: list[int] | None = None,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= box_bg_from <= box_bg_iou <= box_fg_iou <= 1:
            raise ConfigError(
                f"box_bg_from={box_bg_from}, box_bg_iou={box_bg_iou} and box_fg_iou={box_fg_iou}: "
                "they must rise within 0..1"
            )
        parts = single(backbone, Widths(0, head_channels, head_dropout, roi_size))
        maximum = RoIMaxPool({SINGLE_STAGE: backbone.stages[SINGLE_STAGE].stride}, roi_size)
        self.num_classes = num_classes
        self.backbone = backbone
        self.neck = parts.neck
        self.roi_heads = PooledRoIHeads(
            maximum if pooling == "max" else parts.pool,
            TruncatedHead(parts.head, svd) if svd else parts.head,  # type: ignore[arg-type]
            parts.head_channels,
            num_classes,
            foreground_iou=box_fg_iou,
            background_iou=box_bg_iou,
            batch_size=box_batch_size,
            positive_fraction=box_positive_fraction,
            nms=NMSOptions(nms_kind, box_nms_iou, box_detections, box_score_threshold, soft_nms_sigma),
            background_from=box_bg_from,
            **parts.judging,
        )
        if weights is not None:
            load_model_weights(self, backbone, weights, ("roi_heads.box_predictor.",))
        self.to(memory_format=torch.channels_last)

    def _features(self, images: list[Tensor]) -> tuple[ImageBatch, dict[str, Tensor]]:
        batch = pad_to_batch(images, SIZE_MULTIPLE)
        check_images(batch, self.backbone.std)
        return batch, self.neck(self.backbone(batch.tensor))
