"""YOLOv2 (Redmon & Farhadi 2016): anchors from k-means, sigmoid offsets, a passthrough layer."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from visionkit.backbones.base import Backbone
from visionkit.errors import ConfigError
from visionkit.models.create import models
from visionkit.models.detection.parts.anchor_targets import AnchorTargets
from visionkit.models.detection.parts.one_stage import AnchorOutput, OneStageDetector, topk_per_level
from visionkit.models.detection.parts.yolo_anchors import YOLOAnchors, area_shares, match_shapes
from visionkit.models.detection.parts.yolo_head import conv_bn_leaky, prediction_layer, split_boxes
from visionkit.models.detection.parts.yolo_loss_weights import YOLOLossWeights
from visionkit.models.load_model import load_model_weights
from visionkit.ops.boxes import box_centers, paired_iou
from visionkit.ops.matching import PaddedObjects, ignore_crowds, overlaps_object
from visionkit.ops.nms import NMSOptions

STRIDE = 32
"""Side of a cell in pixels."""

VOC_ANCHORS = ((42.3, 55.4), (102.2, 128.3), (161.8, 259.2), (303.1, 154.9), (359.6, 320.2))
"""Width and height in pixels of the authors' anchors for VOC, published in cells of 32 pixels."""

MAX_LOG_SCALE = 4.0
"""Bound on the logarithm of box / anchor, so that boxes stay finite with any weights."""


class SigmoidCoder:
    """Codes centers by a sigmoid within their cell, and sides by an exponential (section 2, figure 3)."""

    def encode(self, boxes: Tensor, anchors: Tensor) -> Tensor:
        """Return offsets in the cell (0..1) and logarithms of the sides [N, 4], the target of `activate`."""
        offsets = (box_centers(boxes) - box_centers(anchors)) / STRIDE + 0.5
        sides = (boxes[:, 2:] - boxes[:, :2]) / (anchors[:, 2:] - anchors[:, :2])
        return torch.cat([offsets, sides.log()], dim=1)

    def activate(self, deltas: Tensor) -> Tensor:
        """Return offsets in the cell and logarithms of the sides [..., 4] of predicted deltas [..., 4]."""
        return torch.cat([deltas[..., :2].sigmoid(), deltas[..., 2:]], dim=-1)

    def decode(self, deltas: Tensor, anchors: Tensor) -> Tensor:
        """Return the boxes [N, 4] in pixels of predicted deltas [N, 4] and anchors [N, 4]."""
        code = self.activate(deltas)
        centers = box_centers(anchors) + (code[:, :2] - 0.5) * STRIDE
        sides = (anchors[:, 2:] - anchors[:, :2]) * code[:, 2:].clamp(max=MAX_LOG_SCALE).exp()
        return torch.cat([centers - sides / 2, centers + sides / 2], dim=1)


class Passthrough(nn.Module):
    """Convolutions on the map of stride 32, with the map of stride 16 as additional channels (section 2).

    Args:
        fine_channels, coarse_channels: channels of the backbone's maps of stride 16 and 32.
        passthrough_channels: channels that the fine map is reduced to, before 2 x 2 positions become channels.
        channels: channels of the convolutions and of the result.
    """

    def __init__(self, fine_channels: int, coarse_channels: int, passthrough_channels: int, channels: int) -> None:
        super().__init__()
        self.coarse = nn.Sequential(conv_bn_leaky(coarse_channels, channels), conv_bn_leaky(channels, channels))
        self.fine = conv_bn_leaky(fine_channels, passthrough_channels, kernel_size=1)
        self.joined = conv_bn_leaky(4 * passthrough_channels + channels, channels)

    def forward(self, maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return one map [B, channels, h, w] of maps s16 [B, fine, 2h, 2w] and s32 [B, coarse, h, w]."""
        fine = functional.pixel_unshuffle(self.fine(maps["s16"]), 2)
        return {"s32": self.joined(torch.cat([fine, self.coarse(maps["s32"])], dim=1))}


class AnchorHead(nn.Module):
    """Objectness, classes and box of each anchor from one 1 x 1 convolution.

    Args:
        channels: channels of the map.
        anchors: number of anchors of a cell.
        num_classes: K.
    """

    def __init__(self, channels: int, anchors: int, num_classes: int) -> None:
        super().__init__()
        self.anchors = anchors
        self.predictor = prediction_layer(channels, anchors * (5 + num_classes))

    def forward(self, levels: list[Tensor]) -> dict[str, Tensor]:
        """Return `cls_logits` [B, A, 1 + K], objectness first, and `bbox_regression` [B, A, 4] of one map."""
        (level,) = levels
        deltas, logits = split_boxes(self.predictor(level), self.anchors).tensor_split([4], dim=-1)
        return {"cls_logits": logits, "bbox_regression": deltas}


@models.register("yolov2")
class YOLOv2(OneStageDetector):
    """YOLOv2 (Redmon & Farhadi 2016), a one-stage detector with anchors on one grid of 32 pixels.

    It is for images of one size (`preprocess.size`), letterboxed as in the authors' code. Published VOC07 mAP is 76.8
    at 416 pixels and 78.6 at 544, trained on 07+12 with Darknet-19.

    Unlike the authors' code, boxes are not drawn to their anchors during the first 12,800 images, and of several
    objects with the same anchor of the same cell the first is trained on; there, the last.

    Args:
        backbone: source of the feature maps, with stages of stride 16 and 32; other stages are not used.
        num_classes: K; labels are 0..K-1.
        anchor_shapes: width and height of the anchors in pixels of the model's input; the default is the authors' for
            VOC. `visionkit data anchors` computes those of a dataset.
        head_channels: channels of the three convolutions behind the backbone (section 2).
        passthrough_channels: channels of the map of stride 16 before 2 x 2 positions become channels (authors' code).
        loss_weights: weights of the terms of the loss (authors' code).
        noobject_iou: a box that overlaps any object by more is not counted as background (authors' code).
        topk_candidates: maximum number of detections that enter NMS.
        nms: filter of overlapping detections; the defaults are those of the authors' code.
        weights: path of a visionkit checkpoint of this model, or None. With another number of classes the prediction
            layer is randomly initialized.

    Attributes:
        spec: primitives from which `create_model` builds the same structure.

    Raises:
        ConfigError: options that contradict each other or the backbone.
        CheckpointError: `weights` cannot be loaded, or are for another model.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("resnet18", weights="none", out_stages=["s16", "s32"])
        >>> model = vk.YOLOv2(backbone, num_classes=3, head_channels=64).eval()
        >>> (prediction,) = model([torch.randn(3, 64, 64)])
        >>> prediction["boxes"].shape[1]
        4
    """

    task: ClassVar[str] = "detection"
    box_coder: SigmoidCoder

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        anchor_shapes: tuple[tuple[float, float], ...] = VOC_ANCHORS,
        head_channels: int = 1024,
        passthrough_channels: int = 64,
        loss_weights: YOLOLossWeights = YOLOLossWeights(object=5.0),
        noobject_iou: float = 0.6,
        topk_candidates: int = 1000,
        nms: NMSOptions = NMSOptions(iou=0.45, max_detections=200, score_threshold=0.005),
        weights: str | None = None,
    ) -> None:
        _check_anchor_shapes(anchor_shapes)
        grid = YOLOAnchors(anchor_shapes)
        super().__init__(
            backbone,
            num_classes,
            neck=Passthrough(
                _stage_channels(backbone, "s16"), _stage_channels(backbone, "s32"), passthrough_channels, head_channels
            ),
            head=AnchorHead(head_channels, grid.per_cell, num_classes),
            anchors=grid,
            matcher=None,
            box_coder=SigmoidCoder(),
            nms=nms,
        )
        self.per_cell, self.noobject_iou = grid.per_cell, noobject_iou
        self.loss_weights, self.topk_candidates = loss_weights, topk_candidates
        if weights is not None:
            load_model_weights(self, backbone, weights, ("head.predictor.",))

    def match_anchors(self, anchors: Tensor, objects: PaddedObjects) -> tuple[Tensor, Tensor]:
        """Match each object to the anchor of its cell with the most similar shape."""
        return match_shapes(anchors, objects, self.per_cell)

    def losses(self, output: AnchorOutput, objects: PaddedObjects) -> dict[str, Tensor]:
        """Return squared errors of boxes and objectness, each halved, and softmax loss of classes (authors' code).

        The error of a box is weighted by 2 less its share of the image, so that small objects count more. The authors
        also draw all boxes to their anchors during the first 12,800 images, which is left out here.

        Returns:
            `loss_box`, `loss_objectness` and `loss_classifier`, each summed over an image, and averaged over the
            images.
        """
        targets = self.anchor_targets(output.anchors, objects)
        images, weights = len(targets.classes), self.loss_weights
        predicted, wanted = self.matched_deltas(output, targets)
        errors = (self.box_coder.activate(predicted) - wanted).square().sum(dim=1)
        box = targets.sum(errors * (2 - area_shares(targets.boxes, output.anchors)))
        labels = (targets.select(targets.classes) - 1).clamp(min=0)
        entropy = functional.cross_entropy(targets.select(output.logits)[:, 1:], labels, reduction="none")
        return {
            "loss_box": 0.5 * weights.coord * box / images,
            "loss_objectness": self._objectness_loss(output, objects, targets) / images,
            "loss_classifier": weights.classes * targets.sum(entropy) / images,
        }

    def scores(self, output: AnchorOutput) -> Tensor:
        """Return objectness times the probability of the class; see `OneStageDetector.scores`."""
        return output.logits[..., :1].sigmoid() * output.logits[..., 1:].softmax(dim=-1)

    def select_candidates(self, scores: Tensor, anchors_per_level: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Select the best detections; see `OneStageDetector.select_candidates`."""
        return topk_per_level(scores, anchors_per_level, self.nms.score_threshold, self.topk_candidates)

    def _objectness_loss(self, output: AnchorOutput, objects: PaddedObjects, targets: AnchorTargets) -> Tensor:
        """Return the error of objectness; its target is the IoU of a matched box with its object, and 0 elsewhere."""
        with torch.no_grad():
            anchors = output.anchors.repeat(len(output.deltas), 1)
            boxes = self.box_coder.decode(output.deltas.flatten(0, 1), anchors).view_as(output.deltas)
            overlaps = paired_iou(targets.select(boxes), targets.boxes).masked_fill(~targets.positive, 0.0)
            wanted = targets.place(overlaps)
            weights = self._objectness_weights(boxes, objects, targets.classes)
        return 0.5 * (weights * (output.logits[..., 0].sigmoid() - wanted).square()).sum()

    def _objectness_weights(self, boxes: Tensor, objects: PaddedObjects, classes: Tensor) -> Tensor:
        """Return the weights [B, A] of objectness; boxes near an object or in a crowd are not counted as background."""
        background = (classes == 0) & ~overlaps_object(boxes, objects, self.noobject_iou)
        counted = ignore_crowds(background.long() - 1, boxes, objects)
        return self.loss_weights.noobject * (counted == 0) + self.loss_weights.object * (classes > 0)


def _stage_channels(backbone: Backbone, stage: str) -> int:
    if stage not in backbone.stages:
        raise ConfigError(
            f"yolov2 needs stages s16 and s32; {backbone.name} has {', '.join(backbone.stages)}\n"
            "set model.backbone.out_stages=[s16, s32]"
        )
    return backbone.stages[stage].channels


def _check_anchor_shapes(shapes: Sequence[Sequence[float]]) -> None:
    if not shapes or any(len(pair) != 2 or min(pair) <= 0 for pair in shapes):
        raise ConfigError(
            f"anchor_shapes={[list(pair) for pair in shapes]}: give width and height of each in pixels, such as "
            "[[42.3, 55.4], [102.2, 128.3]]\n`visionkit data anchors CARD` computes those of a dataset"
        )
