"""YOLOv2 (Redmon & Farhadi 2016): anchors from clusters, sigmoid offsets, a passthrough layer."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection._utils import BoxCoder
from torchvision.ops import box_iou

from visionkit.backbones.base import Backbone
from visionkit.errors import ConfigError
from visionkit.models.create import models
from visionkit.models.detection.parts.grid_anchors import GridBoxes, centers_of, match_shapes, shares
from visionkit.models.detection.parts.grid_head import by_boxes, check_weights, convolution, predictor
from visionkit.models.detection.parts.one_stage import AnchorTargets, DenseOutput, OneStageDetector, best_of_each_level
from visionkit.models.load_model import load_model_weights
from visionkit.ops.boxes import paired_iou, share_inside
from visionkit.ops.matching import CROWD_SHARE, Objects
from visionkit.ops.nms import NMSOptions

STRIDE = 32
"""Pixels of a cell."""

VOC_ANCHORS = [[42.3, 55.4], [102.2, 128.3], [161.8, 259.2], [303.1, 154.9], [359.6, 320.2]]
"""The authors' for VOC, given there in cells of 32 pixels."""

LARGEST_GROWTH = 4.0
"""Bound on the logarithm of box / anchor: a wild guess at the start stays a number."""


class SigmoidCoder(BoxCoder):
    """Centers by a sigmoid within their cell, sides by an exponential of the anchor's (section 2, figure 3)."""

    def __init__(self) -> None:
        super().__init__(weights=(1.0, 1.0, 1.0, 1.0))

    def encode_single(self, reference_boxes: Tensor, proposals: Tensor) -> Tensor:
        """Place in the cell (0..1) and logarithm of the sides, [N, 4]: what `activate` should give."""
        place = (centers_of(reference_boxes) - centers_of(proposals)) / STRIDE + 0.5
        sides = (reference_boxes[:, 2:] - reference_boxes[:, :2]) / (proposals[:, 2:] - proposals[:, :2])
        return torch.cat([place, sides.log()], dim=1)

    def activate(self, deltas: Tensor) -> Tensor:
        """What the network says [..., 4] as a place in the cell and the logarithm of the sides."""
        return torch.cat([deltas[..., :2].sigmoid(), deltas[..., 2:]], dim=-1)

    def decode_single(self, rel_codes: Tensor, boxes: Tensor) -> Tensor:
        """Boxes [N, 4] in pixels from what the network says [N, 4] and anchors [N, 4]."""
        code = self.activate(rel_codes)
        centers = centers_of(boxes) + (code[:, :2] - 0.5) * STRIDE
        sides = (boxes[:, 2:] - boxes[:, :2]) * code[:, 2:].clamp(max=LARGEST_GROWTH).exp()
        return torch.cat([centers - sides / 2, centers + sides / 2], dim=1)


class Passthrough(nn.Module):
    """Two convolutions on the map of stride 32, beside it that of stride 16 with 2 x 2 places as channels (section 2).

    Args:
        fine, coarse: channels of the backbone's maps of stride 16 and 32.
        narrowed: channels that the fine map is brought to first.
        channels: of the convolutions, and of the result.
    """

    def __init__(self, fine: int, coarse: int, narrowed: int, channels: int) -> None:
        super().__init__()
        self.coarse = nn.Sequential(convolution(coarse, channels), convolution(channels, channels))
        self.fine = convolution(fine, narrowed, kernel=1)
        self.joined = convolution(4 * narrowed + channels, channels)

    def forward(self, maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """From maps s16 [B, fine, 2h, 2w] and s32 [B, coarse, h, w] to one [B, channels, h, w]."""
        fine = functional.pixel_unshuffle(self.fine(maps["s16"]), 2)
        return {"s32": self.joined(torch.cat([fine, self.coarse(maps["s32"])], dim=1))}


class AnchorHead(nn.Module):
    """Objectness, classes and box of each anchor from one 1 x 1 convolution.

    Args:
        channels: of the map.
        anchors: of each cell.
        num_classes: K.
    """

    def __init__(self, channels: int, anchors: int, num_classes: int) -> None:
        super().__init__()
        self.anchors = anchors
        self.predictor = predictor(channels, anchors * (5 + num_classes))

    def forward(self, levels: list[Tensor]) -> dict[str, Tensor]:
        """From one map to `cls_logits` [B, A, 1 + K], objectness first, and `bbox_regression` [B, A, 4]."""
        (level,) = levels
        boxes, logits = by_boxes(self.predictor(level), self.anchors).tensor_split([4], dim=-1)
        return {"cls_logits": logits, "bbox_regression": boxes}


@models.register("yolov2")
class YOLOv2(OneStageDetector):
    """One-stage detector with anchors on one grid of 32 pixels (VOC07 mAP 76.8 at 416, 78.6 at 544, on 07+12).

    For images of one size (`preprocess.size`), letterboxed as the authors do. `visionkit data anchors` finds anchors.

    Args:
        backbone: with stages of stride 16 and 32; others are passed over.
        num_classes: K; labels are 0..K-1.
        anchors: width and height in pixels of the network's input; None is the authors' choice for VOC.
        head_channels: of the three convolutions behind the backbone (section 2: 1024).
        passthrough_channels: of the map of stride 16, before 2 x 2 places become channels (the authors' code: 64).
        coord_weight: of the squared errors of boxes in the loss (the authors' code: 1).
        object_weight: of those of objectness at objects (the same: 5).
        noobject_weight: of those elsewhere (the same: 1).
        class_weight: of the classes (the same: 1).
        noobject_iou: a box that overlaps an object by more is not taken for background (the same: .6).
        score_threshold: a detection scores more, in 0..1; for evaluation, not for display (the same: .005).
        candidates: best pairs of box and class that go into NMS.
        NMS: which of overlapping detections stay, by its name in `visionkit.ops.nms`: "per_class",
            "class_agnostic", "soft_linear" or "soft_gaussian".
        nms_iou: detections suffer from a better one that they overlap by more (the same: .45).
        soft_nms_sigma: how gently "soft_gaussian" lowers scores (Bodla et al. 2017: .5).
        detections: of an image at most.
        weights: path of a visionkit checkpoint of such a network, or None. With another number of classes the predictor
            stays new.

    Attributes:
        spec: primitives from which `create_model` builds the same structure.

    Raises:
        ConfigError: options that contradict each other or the backbone.
        CheckpointError: `weights` cannot be read or does not fit.
    """

    task: ClassVar[str] = "detection"
    box_coder: SigmoidCoder

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        anchors: list[list[float]] | None = None,
        head_channels: int = 1024,
        passthrough_channels: int = 64,
        coord_weight: float = 1.0,
        object_weight: float = 5.0,
        noobject_weight: float = 1.0,
        class_weight: float = 1.0,
        noobject_iou: float = 0.6,
        score_threshold: float = 0.005,
        candidates: int = 1000,
        nms_kind: str = "per_class",
        nms_iou: float = 0.45,
        soft_nms_sigma: float = 0.5,
        detections: int = 200,
        weights: str | None = None,
    ) -> None:
        grid = GridBoxes(_checked(VOC_ANCHORS if anchors is None else anchors))
        check_weights(
            coord_weight=coord_weight,
            object_weight=object_weight,
            noobject_weight=noobject_weight,
            class_weight=class_weight,
        )
        fine, coarse = (_channels(backbone, stage) for stage in ("s16", "s32"))
        super().__init__(
            backbone,
            num_classes,
            neck=Passthrough(fine, coarse, passthrough_channels, head_channels),
            head=AnchorHead(head_channels, grid.per_cell, num_classes),
            anchors=grid,
            matcher=None,
            box_coder=SigmoidCoder(),
            nms=NMSOptions(nms_kind, nms_iou, detections, score_threshold, soft_nms_sigma),
        )
        self.per_cell, self.candidates, self.noobject_iou = grid.per_cell, candidates, noobject_iou
        self.coord_weight, self.class_weight = coord_weight, class_weight
        self.object_weight, self.noobject_weight = object_weight, noobject_weight
        if weights is not None:
            load_model_weights(self, backbone, weights, ("head.predictor.",))

    def match(self, anchors: Tensor, objects: Objects) -> tuple[Tensor, Tensor]:
        """See `OneStageDetector.match`."""
        return match_shapes(anchors, objects, self.per_cell)

    def losses(self, output: DenseOutput, objects: Sequence[Objects]) -> dict[str, Tensor]:
        """Halved squared errors of boxes and objectness, softmax of the classes, as in the authors' code.

        A box's errors weigh 2 less its share of the image, so that small objects count more. Left out is that the
        authors also draw all boxes towards their anchors through the first 12,800 images.

        Returns:
            `loss_box`, `loss_objectness` and `loss_classifier`, each summed over an image, averaged over all.
        """
        anchor_targets = self.anchor_targets(output.anchors, objects)
        said, wanted = self.box_errors(output, anchor_targets)
        errors = (self.box_coder.activate(said) - wanted).square().sum(dim=1)
        box = 0.5 * self.coord_weight * (errors * (2 - shares(anchor_targets.references, output.anchors))).sum()
        logits = output.logits[anchor_targets.image, anchor_targets.anchor, 1:]
        labels = anchor_targets.classes[anchor_targets.image, anchor_targets.anchor] - 1
        classifier = self.class_weight * functional.cross_entropy(logits, labels, reduction="sum")
        return {
            "loss_box": box / len(objects),
            "loss_objectness": self._objectness(output, objects, anchor_targets) / len(objects),
            "loss_classifier": classifier / len(objects),
        }

    def scores(self, output: DenseOutput) -> Tensor:
        """See `OneStageDetector.scores`: objectness times the class's probability."""
        return output.logits[..., :1].sigmoid() * output.logits[..., 1:].softmax(dim=-1)

    def choose(self, scores: Tensor, per_level: Sequence[int]) -> tuple[Tensor, Tensor]:
        """See `OneStageDetector.choose`."""
        return best_of_each_level(scores, per_level, self.nms.score_threshold, self.candidates)

    def _objectness(self, output: DenseOutput, objects: Sequence[Objects], anchor_targets: AnchorTargets) -> Tensor:
        """Objectness should be the box's IoU with its object, and 0 where there is none."""
        with torch.no_grad():
            anchors = output.anchors.repeat(len(output.deltas), 1)
            boxes = self.decode(output.deltas.flatten(0, 1), anchors).view_as(output.deltas)
            wanted = torch.zeros_like(output.logits[..., 0])
            place = anchor_targets.image, anchor_targets.anchor
            wanted[place] = paired_iou(boxes[place], anchor_targets.references)
            spared = torch.stack(
                [_spared(own, one, self.noobject_iou) for own, one in zip(boxes, objects, strict=True)]
            )
            weights = self.noobject_weight * ((anchor_targets.classes == 0) & ~spared) + self.object_weight * (
                anchor_targets.classes > 0
            )
        return 0.5 * (weights * (output.logits[..., 0].sigmoid() - wanted).square()).sum()


def _spared(boxes: Tensor, objects: Objects, iou: float) -> Tensor:
    """Which boxes [A, 4] overlap any object by more than `iou`, or lie in a crowd; bool [A]."""
    near: Tensor = (box_iou(boxes, objects.boxes) > iou).any(dim=1)
    return near | (share_inside(boxes, objects.crowds) >= CROWD_SHARE).any(dim=1)


def _channels(backbone: Backbone, stage: str) -> int:
    if stage not in backbone.stages:
        given = ", ".join(backbone.stages)
        raise ConfigError(f"yolov2 needs stages s16 and s32; {backbone.name} gives {given}")
    return backbone.stages[stage].channels


def _checked(anchors: list[list[float]]) -> list[list[float]]:
    if not anchors or any(len(pair) != 2 or min(pair) <= 0 for pair in anchors):
        raise ConfigError(
            f"anchors={anchors}: give width and height in pixels of each, such as [[42.3, 55.4], [102.2, 128.3]]\n"
            "`visionkit data anchors CARD` finds those of a data set"
        )
    return anchors
