"""YOLO (Redmon et al. 2015): a grid over the image, each cell with a few boxes and one class."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection._utils import BoxCoder

from visionkit.backbones.base import Backbone, Stage
from visionkit.errors import ConfigError
from visionkit.models.create import models
from visionkit.models.detection.parts.grid_anchors import GridBoxes, centers_of, match_cells
from visionkit.models.detection.parts.grid_head import by_boxes, check_weights, convolution
from visionkit.models.detection.parts.one_stage import AnchorTargets, DenseOutput, OneStageDetector, best_of_each_level
from visionkit.models.load_model import load_model_weights
from visionkit.ops.boxes import paired_iou
from visionkit.ops.matching import Objects
from visionkit.ops.nms import NMSOptions
from visionkit.registry import suggest

HEADS = ("connected", "convolutional")


class RootCoder(BoxCoder):
    """Centers as a place in their cell, sides as square roots of their share of the image (section 2.2).

    Args:
        cells: along each side of the image.
    """

    def __init__(self, cells: int) -> None:
        super().__init__(weights=(1.0, 1.0, 1.0, 1.0))
        self.cells = cells

    def encode_single(self, reference_boxes: Tensor, proposals: Tensor) -> Tensor:
        """Code [N, 4] of boxes [N, 4] in cells [N, 4]."""
        cell = proposals[:, 2:] - proposals[:, :2]
        place = (centers_of(reference_boxes) - proposals[:, :2]) / cell
        share = (reference_boxes[:, 2:] - reference_boxes[:, :2]) / (cell * self.cells)
        return torch.cat([place, share.sqrt()], dim=1)

    def decode_single(self, rel_codes: Tensor, boxes: Tensor) -> Tensor:
        """Boxes [N, 4] in pixels from codes [N, 4] and cells [N, 4]."""
        cell = boxes[:, 2:] - boxes[:, :2]
        centers = boxes[:, :2] + rel_codes[:, :2] * cell
        sides = rel_codes[:, 2:].square() * cell * self.cells
        return torch.cat([centers - sides / 2, centers + sides / 2], dim=1)


class FourConvolutions(nn.Module):
    """What the paper adds behind the pretrained layers (section 2.2), the second with a stride.

    Args:
        stage: name of the backbone's map.
        inputs: its channels.
        channels: of each convolution.
        stride: of the second.
    """

    def __init__(self, stage: str, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        self.stage = stage
        self.layers = nn.Sequential(
            convolution(inputs, channels),
            convolution(channels, channels, stride=stride),
            convolution(channels, channels),
            convolution(channels, channels),
        )

    def forward(self, maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """From the backbone's maps to one [B, channels, h, w]."""
        return {self.stage: self.layers(maps[self.stage])}


class ConnectedLayers(nn.Sequential):
    """Two fully connected layers that see the whole image from every cell (section 2.1).

    Args:
        channels: of the map.
        hidden: numbers between the two.
        outputs: of each cell.
        cells: along each side; a map of another size is averaged or repeated to it.
        dropout: after the first (section 2.2: .5).
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
    """For each cell B boxes with a confidence, and K classes.

    Args:
        layers: to a map of 5 B + K channels.
        boxes: B.
    """

    def __init__(self, layers: nn.Module, boxes: int) -> None:
        super().__init__()
        self.layers, self.boxes = layers, boxes

    def forward(self, levels: list[Tensor]) -> dict[str, Tensor]:
        """From one map to `cls_logits` [B, A, 1 + K], confidence first, and `bbox_regression` [B, A, 4]."""
        (level,) = levels
        own, classes = self.layers(level).tensor_split([5 * self.boxes], dim=1)
        coded, confidence = by_boxes(own, self.boxes).tensor_split([4], dim=-1)
        shared = by_boxes(classes, 1).repeat_interleave(self.boxes, dim=1)
        return {"cls_logits": torch.cat([confidence, shared], dim=-1), "bbox_regression": coded}


@models.register("yolov1")
class YOLOv1(OneStageDetector):
    """One-stage detector that regresses boxes and classes of the cells of a grid (VOC07 mAP 63.4, trained on 07+12).

    For images of one size (`preprocess.size`; the paper's is 448).

    Args:
        backbone: its deepest stage is taken.
        num_classes: K; labels are 0..K-1.
        head: "connected", two fully connected layers that divide every image into `grid` x `grid` cells, or
            "convolutional", where the grid follows the image's size and a box's sides count in `grid` cells.
        grid: S (section 2: 7).
        boxes: of each cell, B (the same: 2).
        head_channels: of the four convolutions behind the backbone (section 2.1: 1024).
        head_stride: of the second of them (the same: 2); 448 pixels then give 7 cells of 64 behind a stride of 32.
        hidden: numbers between the two fully connected layers (figure 3: 4096).
        dropout: between them (section 2.2: .5).
        coord_weight: of the errors of boxes in the loss, lambda_coord (section 2.2: 5).
        noobject_weight: of those of the confidence where no object is, lambda_noobj (the same: .5).
        score_threshold: a detection scores more, in 0..1; for evaluation, not for display (the authors' code: .001).
        candidates: best pairs of box and class that go into NMS.
        NMS: which of overlapping detections stay, by its name in `visionkit.ops.nms`: "per_class",
            "class_agnostic", "soft_linear" or "soft_gaussian".
        nms_iou: detections suffer from a better one that they overlap by more (the same: .5).
        soft_nms_sigma: how gently "soft_gaussian" lowers scores (Bodla et al. 2017: .5).
        detections: of an image at most.
        weights: path of a visionkit checkpoint of such a network, or None. With another number of classes the predictor
            stays new.

    Attributes:
        spec: primitives from which `create_model` builds the same structure.

    Raises:
        ConfigError: options out of their range.
        CheckpointError: `weights` cannot be read or does not fit.
    """

    task: ClassVar[str] = "detection"

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        head: Literal["connected", "convolutional"] = "connected",
        grid: int = 7,
        boxes: int = 2,
        head_channels: int = 1024,
        head_stride: int = 2,
        hidden: int = 4096,
        dropout: float = 0.5,
        coord_weight: float = 5.0,
        noobject_weight: float = 0.5,
        score_threshold: float = 0.001,
        candidates: int = 1000,
        nms_kind: str = "per_class",
        nms_iou: float = 0.5,
        soft_nms_sigma: float = 0.5,
        detections: int = 200,
        weights: str | None = None,
    ) -> None:
        if min(grid, boxes, head_stride) < 1:
            raise ConfigError(f"grid={grid}, boxes={boxes}, head_stride={head_stride}: each must be at least 1")
        check_weights(coord_weight=coord_weight, noobject_weight=noobject_weight)
        if head not in HEADS:
            raise ConfigError(f"head={head!r}{suggest(head, HEADS)}")
        name, stage = _deepest(backbone)
        outputs = 5 * boxes + num_classes
        connected = head == "connected"
        if connected:
            layers: nn.Module = ConnectedLayers(head_channels, hidden, outputs, grid, dropout)
        else:
            layers = nn.Conv2d(head_channels, outputs, 1)
        super().__init__(
            backbone,
            num_classes,
            neck=FourConvolutions(name, stage.channels, head_channels, head_stride),
            head=GridHead(layers, boxes),
            anchors=GridBoxes(boxes=boxes, cells=grid if connected else None),
            matcher=None,
            box_coder=RootCoder(grid),
            nms=NMSOptions(nms_kind, nms_iou, detections, score_threshold, soft_nms_sigma),
        )
        self.size_multiple = stage.stride * (1 if connected else head_stride)
        self.per_cell, self.candidates = boxes, candidates
        self.coord_weight, self.noobject_weight = coord_weight, noobject_weight
        if weights is not None:
            load_model_weights(self, backbone, weights, ("head.layers.",))

    def match(self, anchors: Tensor, objects: Objects) -> tuple[Tensor, Tensor]:
        """See `OneStageDetector.match`: all boxes of an object's cell, of which `losses` finds the responsible one."""
        return match_cells(anchors, objects, self.per_cell)

    def losses(self, output: DenseOutput, objects: Sequence[Objects]) -> dict[str, Tensor]:
        """Squared errors (equation 3).

        Returns:
            `loss_box`, `loss_objectness` and `loss_classifier`, each summed over an image, averaged over all.
        """
        cells = self.anchor_targets(output.anchors, objects)
        anchor_targets, overlaps = self._responsible(output, cells)
        said, wanted = self.box_errors(output, anchor_targets)
        place = anchor_targets.image, anchor_targets.anchor
        labels = functional.one_hot(cells.classes[place] - 1, self.num_classes)
        confidence = output.logits[..., 0]
        elsewhere = (cells.classes != -1).index_put(place, torch.zeros_like(overlaps, dtype=torch.bool))
        objectness = (confidence[place] - overlaps).square().sum()
        background = (confidence.square() * elsewhere).sum()
        return {
            "loss_box": self.coord_weight * (said - wanted).square().sum() / len(objects),
            "loss_objectness": (objectness + self.noobject_weight * background) / len(objects),
            "loss_classifier": (output.logits[..., 1:][place] - labels).square().sum() / len(objects),
        }

    def scores(self, output: DenseOutput) -> Tensor:
        """See `OneStageDetector.scores`: class-specific confidence (equation 1); the two factors are held to 0..1."""
        return output.logits[..., :1].clamp(0, 1) * output.logits[..., 1:].clamp(0, 1)

    def choose(self, scores: Tensor, per_level: Sequence[int]) -> tuple[Tensor, Tensor]:
        """See `OneStageDetector.choose`."""
        return best_of_each_level(scores, per_level, self.nms.score_threshold, self.candidates)

    @torch.no_grad()
    def _responsible(self, output: DenseOutput, cells: AnchorTargets) -> tuple[AnchorTargets, Tensor]:
        """Of the boxes of each object's cell, the one that overlaps it most, and their IoU [objects]."""
        # The boxes of a cell follow each other, and all or none of them are lessons.
        boxes = self.decode(output.deltas[cells.image, cells.anchor], output.anchors[cells.anchor])
        overlaps = paired_iou(boxes, cells.references).view(-1, self.per_cell)
        best = overlaps.argmax(dim=1)
        chosen = torch.arange(len(best), device=best.device) * self.per_cell + best
        anchor_targets = AnchorTargets(
            cells.classes, cells.image[chosen], cells.anchor[chosen], cells.references[chosen]
        )
        return anchor_targets, overlaps.flatten()[chosen]


def _deepest(backbone: Backbone) -> tuple[str, Stage]:
    *_, deepest = backbone.stages.items()
    return deepest
