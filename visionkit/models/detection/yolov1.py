"""YOLO (Redmon et al. 2015): a grid over the image, each cell with a few boxes and one class."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from visionkit.backbones.base import Backbone, Stage
from visionkit.errors import ConfigError
from visionkit.models.create import models
from visionkit.models.detection.parts.anchor_targets import AnchorTargets
from visionkit.models.detection.parts.one_stage import AnchorOutput, OneStageDetector, topk_per_level
from visionkit.models.detection.parts.yolo_anchors import YOLOAnchors, match_cells
from visionkit.models.detection.parts.yolo_head import conv_bn_leaky, split_boxes
from visionkit.models.detection.parts.yolo_loss_weights import YOLOLossWeights
from visionkit.models.load_model import load_model_weights
from visionkit.ops.boxes import box_centers, paired_iou
from visionkit.ops.matching import PaddedObjects
from visionkit.ops.nms import NMSOptions
from visionkit.registry import suggest

HEADS = ("fully_connected", "convolutional")


class SquareRootCoder:
    """Codes centers as offsets in their cell, and sides as square roots of their share of the image (section 2.2).

    Args:
        cells: number of cells along each side of the image.
    """

    def __init__(self, cells: int) -> None:
        self.cells = cells

    def encode(self, boxes: Tensor, anchors: Tensor) -> Tensor:
        """Return the code [N, 4] of boxes [N, 4] in cells [N, 4]."""
        cell = anchors[:, 2:] - anchors[:, :2]
        offsets = (box_centers(boxes) - anchors[:, :2]) / cell
        shares = (boxes[:, 2:] - boxes[:, :2]) / (cell * self.cells)
        return torch.cat([offsets, shares.sqrt()], dim=1)

    def decode(self, deltas: Tensor, anchors: Tensor) -> Tensor:
        """Return the boxes [N, 4] in pixels of codes [N, 4] and cells [N, 4]."""
        cell = anchors[:, 2:] - anchors[:, :2]
        centers = anchors[:, :2] + deltas[:, :2] * cell
        sides = deltas[:, 2:].square() * cell * self.cells
        return torch.cat([centers - sides / 2, centers + sides / 2], dim=1)


class FourConvolutions(nn.Module):
    """The four convolutions behind the pretrained layers (section 2.2), the second with a stride.

    Args:
        stage: name of the backbone's map.
        in_channels: its channels.
        channels: channels of each convolution.
        stride: stride of the second convolution.
    """

    def __init__(self, stage: str, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.stage = stage
        self.layers = nn.Sequential(
            conv_bn_leaky(in_channels, channels),
            conv_bn_leaky(channels, channels, stride=stride),
            conv_bn_leaky(channels, channels),
            conv_bn_leaky(channels, channels),
        )

    def forward(self, maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return one map [B, channels, h, w] from the backbone's maps."""
        return {self.stage: self.layers(maps[self.stage])}


class ConnectedLayers(nn.Sequential):
    """Two fully connected layers from the whole image to every cell (section 2.1).

    Args:
        channels: channels of the map.
        hidden: units between the two layers.
        outputs: outputs of each cell.
        cells: number of cells along each side; a map of another size is pooled to it.
        dropout: dropout after the first layer (section 2.2).
    """

    def __init__(self, channels: int, hidden: int, outputs: int, cells: int, dropout: float) -> None:
        super().__init__(
            nn.AdaptiveAvgPool2d(cells),
            nn.Flatten(),
            nn.Linear(channels * cells * cells, hidden),
            nn.LeakyReLU(0.1, inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden, outputs * cells * cells),
            nn.Unflatten(1, (outputs, cells, cells)),
        )


class GridHead(nn.Module):
    """Boxes with a confidence, and K classes, of each cell.

    Args:
        layers: layers with a map of 5 * boxes + K channels as output.
        boxes: number of boxes of a cell, B in the paper.
    """

    def __init__(self, layers: nn.Module, boxes: int) -> None:
        super().__init__()
        self.layers, self.boxes = layers, boxes

    def forward(self, levels: list[Tensor]) -> dict[str, Tensor]:
        """Return `cls_logits` [B, A, 1 + K], confidence first, and `bbox_regression` [B, A, 4] of one map."""
        (level,) = levels
        boxes, classes = self.layers(level).tensor_split([5 * self.boxes], dim=1)
        deltas, confidence = split_boxes(boxes, self.boxes).tensor_split([4], dim=-1)
        classes_of_boxes = split_boxes(classes, 1).repeat_interleave(self.boxes, dim=1)
        return {"cls_logits": torch.cat([confidence, classes_of_boxes], dim=-1), "bbox_regression": deltas}


@models.register("yolov1")
class YOLOv1(OneStageDetector):
    """YOLO (Redmon et al. 2015), a one-stage detector that regresses boxes and classes of the cells of a grid.

    It is for images of one size (`preprocess.size`; 448 in the paper). Published VOC07 mAP is 63.4, trained on 07+12
    with the paper's own backbone.

    Of the boxes of a cell, the one with the highest IoU with the object is trained on it, and the first one if all have
    an IoU of 0. The authors' code takes the box with the lowest root mean square error then.

    Args:
        backbone: source of the feature map; its deepest stage is used.
        num_classes: K; labels are 0..K-1.
        head: "fully_connected" for two fully connected layers that divide every image into `grid` x `grid` cells, or
            "convolutional" for a grid that follows the image's size. The unit of a box's sides is then `grid` cells.
        grid: number of cells along each side, S in the paper (section 2).
        boxes: number of boxes of each cell, B in the paper (section 2).
        head_channels: channels of the four convolutions behind the backbone (section 2.1).
        head_stride: stride of the second of them (section 2.1). With 2, a backbone of stride 32 gives 7 x 7 cells of 64
            pixels at an input of 448.
        hidden: units between the two fully connected layers (figure 3).
        dropout: dropout between them (section 2.2).
        loss_weights: weights of the terms of the loss (section 2.2: coord 5, noobject 0.5).
        topk_candidates: maximum number of detections that enter NMS.
        nms: filter of overlapping detections; the defaults are those of the authors' code.
        weights: path of a visionkit checkpoint of this model, or None. With another number of classes the head is
            randomly initialized.

    Attributes:
        spec: primitives from which `create_model` builds the same structure.

    Raises:
        ConfigError: options out of their range.
        CheckpointError: `weights` cannot be loaded, or are for another model.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("resnet18", weights="none")
        >>> model = vk.YOLOv1(backbone, num_classes=3, head_channels=64, hidden=128)
        >>> target = {"boxes": torch.tensor([[8.0, 8.0, 40.0, 56.0]]), "labels": torch.tensor([2])}
        >>> images = [torch.randn(3, 64, 64), torch.randn(3, 64, 64)]
        >>> sorted(model(images, [target, target]))
        ['loss_box', 'loss_classifier', 'loss_objectness']
    """

    task: ClassVar[str] = "detection"

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        head: Literal["fully_connected", "convolutional"] = "fully_connected",
        grid: int = 7,
        boxes: int = 2,
        head_channels: int = 1024,
        head_stride: int = 2,
        hidden: int = 4096,
        dropout: float = 0.5,
        loss_weights: YOLOLossWeights = YOLOLossWeights(coord=5.0, noobject=0.5),
        topk_candidates: int = 1000,
        nms: NMSOptions = NMSOptions(iou=0.5, max_detections=200, score_threshold=0.001),
        weights: str | None = None,
    ) -> None:
        if min(grid, boxes, head_stride) < 1:
            raise ConfigError(f"grid={grid}, boxes={boxes}, head_stride={head_stride}: each must be at least 1")
        if head not in HEADS:
            raise ConfigError(f"head={head!r}{suggest(head, HEADS)}")
        name, stage = _deepest_stage(backbone)
        outputs = 5 * boxes + num_classes
        is_fully_connected = head == "fully_connected"
        if is_fully_connected:
            layers: nn.Module = ConnectedLayers(head_channels, hidden, outputs, grid, dropout)
        else:
            layers = nn.Conv2d(head_channels, outputs, 1)
        super().__init__(
            backbone,
            num_classes,
            neck=FourConvolutions(name, stage.channels, head_channels, head_stride),
            head=GridHead(layers, boxes),
            anchors=YOLOAnchors(per_cell=boxes, cells=grid if is_fully_connected else None),
            matcher=None,
            box_coder=SquareRootCoder(grid),
            nms=nms,
        )
        self.size_multiple = stage.stride * (1 if is_fully_connected else head_stride)
        self.per_cell, self.topk_candidates, self.loss_weights = boxes, topk_candidates, loss_weights
        if weights is not None:
            load_model_weights(self, backbone, weights, ("head.layers.",))

    def match_anchors(self, anchors: Tensor, objects: PaddedObjects) -> tuple[Tensor, Tensor]:
        """Match all boxes of an object's cell, of which `losses` selects the responsible one."""
        return match_cells(anchors, objects, self.per_cell)

    def losses(self, output: AnchorOutput, objects: PaddedObjects) -> dict[str, Tensor]:
        """Return the sums of squared errors (equation 3).

        Returns:
            `loss_box`, `loss_objectness` and `loss_classifier`, each summed over an image, and averaged over the
            images.
        """
        targets, overlaps = self._responsible(output, self.anchor_targets(output.anchors, objects))
        predicted, wanted = self.matched_deltas(output, targets)
        labels = targets.select(targets.classes)[:, None] - 1
        logits = targets.select(output.logits)
        one_hot = labels == torch.arange(self.num_classes, device=labels.device)
        is_noobject = (targets.classes != -1) & ~targets.place(targets.positive)
        images, weights = len(targets.classes), self.loss_weights
        objectness = weights.object * targets.sum((logits[:, 0] - overlaps).square())
        noobject = weights.noobject * (output.logits[..., 0].square() * is_noobject).sum()
        return {
            "loss_box": weights.coord * targets.sum((predicted - wanted).square()) / images,
            "loss_objectness": (objectness + noobject) / images,
            "loss_classifier": weights.classes * targets.sum((logits[:, 1:] - one_hot.float()).square()) / images,
        }

    def scores(self, output: AnchorOutput) -> Tensor:
        """Return the class-specific confidence (equation 1); both factors are clamped to 0..1."""
        return output.logits[..., :1].clamp(0, 1) * output.logits[..., 1:].clamp(0, 1)

    def select_candidates(self, scores: Tensor, anchors_per_level: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Select the best detections; see `OneStageDetector.select_candidates`."""
        return topk_per_level(scores, anchors_per_level, self.nms.score_threshold, self.topk_candidates)

    @torch.no_grad()
    def _responsible(self, output: AnchorOutput, cells: AnchorTargets) -> tuple[AnchorTargets, Tensor]:
        """Return the targets of the box of each cell that overlaps the object most, and the IoU [P] of all boxes."""
        # The boxes of a cell are neighbors, and all or none of them match an object.
        anchors = cells.select(output.anchors.expand(len(output.deltas), -1, -1))
        overlaps = paired_iou(self.box_coder.decode(cells.select(output.deltas), anchors), cells.boxes)
        of_cells = overlaps.view(-1, self.per_cell)
        best = of_cells.argmax(dim=1, keepdim=True) if len(of_cells) else of_cells
        is_best = (torch.arange(self.per_cell, device=overlaps.device) == best).flatten()
        return cells._replace(positive=cells.positive & is_best), overlaps


def _deepest_stage(backbone: Backbone) -> tuple[str, Stage]:
    *_, deepest = backbone.stages.items()
    return deepest
