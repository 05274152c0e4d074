"""Base of one-stage detectors: classification and box regression of a dense set of anchors (SSD, RetinaNet, YOLO)."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torchvision.ops import clip_boxes_to_image

from visionkit.backbones.base import Backbone
from visionkit.errors import ConfigError, VisionkitError
from visionkit.models.base import DetectionModel
from visionkit.models.detection.parts.anchor_targets import AnchorTargets
from visionkit.models.detection.parts.anchors import CachedAnchorGenerator
from visionkit.models.detection.parts.batch import (
    ImageBatch,
    check_images,
    filter_detections,
    pad_targets,
    pad_to_batch,
)
from visionkit.ops.float32 import at_least_float32, check_finite, full_precision
from visionkit.ops.matching import Matcher, PaddedObjects, assign
from visionkit.ops.nms import Candidates, NMSOptions
from visionkit.ops.waiting import rows_of
from visionkit.structures import Prediction, Target


class BoxCoding(Protocol):
    """How boxes are coded relative to anchors."""

    def encode(self, boxes: Tensor, anchors: Tensor) -> Tensor:
        """Return the code [N, 4] of boxes [N, 4] relative to anchors [N, 4]."""
        ...

    def decode(self, deltas: Tensor, anchors: Tensor) -> Tensor:
        """Return the boxes [N, 4] of predicted deltas [N, 4] and anchors [N, 4]."""
        ...


class AnchorOutput(NamedTuple):
    """Output of a one-stage model for a batch, over the A anchors of all levels.

    Attributes:
        anchors: float32 [A, 4], the same for each image.
        anchors_per_level: number of anchors of each level.
        logits: float32 [B, A, C]; the model defines C.
        deltas: float32 [B, A, 4], boxes coded relative to the anchors.
    """

    anchors: Tensor
    anchors_per_level: list[int]
    logits: Tensor
    deltas: Tensor


class OneStageDetector(DetectionModel):
    """Base of one-stage detectors: backbone, neck and head over anchors.

    Subclasses define the loss (`losses`), the meaning of the logits (`scores`), and which anchors enter NMS
    (`select_candidates`).

    Args:
        backbone: source of the feature maps.
        num_classes: K, without background; labels are 0..K-1.
        neck: from the backbone's maps to those of the levels.
        head: from a list of maps [B, c, h, w] to `cls_logits` [B, A, C] and `bbox_regression` [B, A, 4].
        anchors: generates the anchors.
        matcher: matches anchors to objects by IoU; None for a subclass with its own `match_anchors`.
        box_coder: codes boxes relative to anchors.
        nms: filters overlapping detections.

    Raises:
        ConfigError: there is no class.
    """

    size_multiple = 32
    """Height and width of the padded batch are multiples of it, in pixels: the stride of the backbone's deepest map."""

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        neck: nn.Module,
        head: nn.Module,
        anchors: CachedAnchorGenerator,
        matcher: Matcher | None,
        box_coder: BoxCoding,
        nms: NMSOptions,
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise ConfigError(f"num_classes={num_classes}: a detector needs at least one class besides background")
        self.num_classes = num_classes
        self.backbone, self.neck, self.head = backbone, neck, head
        self.anchors, self.matcher, self.box_coder, self.nms = anchors, matcher, box_coder, nms
        self.to(memory_format=torch.channels_last)

    def losses(self, output: AnchorOutput, objects: PaddedObjects) -> dict[str, Tensor]:
        """Return the losses of a batch, computed in float32.

        Args:
            output: output of the model.
            objects: ground truth of the images.
        """
        raise NotImplementedError

    def scores(self, output: AnchorOutput) -> Tensor:
        """Return the scores [B, A, K] in 0..1 of each anchor and class."""
        raise NotImplementedError

    def select_candidates(self, scores: Tensor, anchors_per_level: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Select the detections of an image that enter NMS.

        Args:
            scores: [A, K] of one image.
            anchors_per_level: number of anchors of each level.

        Returns:
            Indices of anchors int64 [N] and labels int64 [N].
        """
        raise NotImplementedError

    def forward(
        self,
        images: list[Tensor],
        targets: list[Target] | None = None,
        proposals: list[Tensor] | None = None,
    ) -> dict[str, Tensor] | list[Prediction]:
        """Return the losses in training mode, the predictions in evaluation mode.

        Args:
            images: normalized float [3, H, W] each.
            targets: in training, per image `boxes` float32 [N, 4] xyxy in its pixels, `labels` int64 [N] in 0..K-1,
                and optionally `crowd` bool [N] (regions that are ignored in the loss) and `image_id` (for messages).
            proposals: not used.

        Returns:
            A dict of scalar losses, or per image `boxes` float32 [M, 4] in its pixels, `scores` [M] in
            descending order, `labels` int64 [M] in 0..K-1.

        Raises:
            DataError: invalid images or targets; names the image. In training on a GPU,
                values are not read, which would wait: a task checks them before.
            VisionkitError: no targets in training, or in evaluation an output that is not finite.
        """
        if not self.training:
            return self._predictions(*self._anchor_output(images))
        if targets is None:
            raise VisionkitError("a detector in training mode needs targets; call eval() to predict")
        objects = pad_targets(targets, self.num_classes)
        _, output = self._anchor_output(images)
        return self._losses(output, objects)

    def losses_and_predictions(
        self, images: list[Tensor], targets: list[Target]
    ) -> tuple[dict[str, Tensor], list[Prediction]]:
        """Return both results of `forward` from one pass, in the present mode."""
        objects = pad_targets(targets, self.num_classes)
        batch, output = self._anchor_output(images)
        return self._losses(output, objects), self._predictions(batch, output)

    @property
    def nms_options(self) -> NMSOptions:
        """How overlapping predictions are filtered."""
        return self.nms

    def anchor_shapes(self, input_size: tuple[int, int] | None = None) -> Tensor:
        """Return width and height [A, 2] of every kind of anchor; see `DetectionModel.anchor_shapes`."""
        return self.anchors.shapes(input_size)

    def match_anchors(self, anchors: Tensor, objects: PaddedObjects) -> tuple[Tensor, Tensor]:
        """Return classes int64 [B, A] and matched objects int64 [B, A] of the anchors [A, 4], as `assign` does."""
        assert self.matcher is not None
        return assign(anchors, objects, self.matcher)

    def anchor_targets(self, anchors: Tensor, objects: PaddedObjects) -> AnchorTargets:
        """Return the targets of the anchors [A, 4] in each image.

        Args:
            anchors: the same for each image.
            objects: ground truth of the images.
        """
        classes, matched = self.match_anchors(anchors, objects)
        rows = rows_of((classes > 0).flatten())
        # Indices into the objects of all images.
        first = torch.arange(len(matched), device=matched.device)[:, None] * objects.boxes.shape[1]
        boxes = objects.boxes.flatten(0, 1)[(matched + first).flatten()[rows]]
        return AnchorTargets(classes, rows, classes.flatten()[rows] > 0, boxes)

    def matched_deltas(self, output: AnchorOutput, targets: AnchorTargets) -> tuple[Tensor, Tensor]:
        """Return predicted and target deltas [P, 4] of the matched anchors, both 0 where none is matched."""
        anchors = targets.select(output.anchors.expand(len(output.deltas), -1, -1))
        wanted = self.box_coder.encode(targets.boxes, anchors)
        unmatched = ~targets.positive[:, None]
        return targets.select(output.deltas).masked_fill(unmatched, 0.0), wanted.masked_fill(unmatched, 0.0)

    def _anchor_output(self, images: list[Tensor]) -> tuple[ImageBatch, AnchorOutput]:
        batch = pad_to_batch(images, self.size_multiple)
        check_images(batch, self.backbone.std, self.training)
        levels = list(self.neck(self.backbone(batch.tensor)).values())
        predicted = self.head(levels)
        return batch, self._with_anchors(batch, levels, predicted["cls_logits"], predicted["bbox_regression"])

    def _with_anchors(
        self, batch: ImageBatch, levels: Sequence[Tensor], logits: Tensor, deltas: Tensor
    ) -> AnchorOutput:
        height, width = batch.tensor.shape[-2:]
        anchors, anchors_per_level = self.anchors.grid((height, width), levels)
        return AnchorOutput(anchors, anchors_per_level, at_least_float32(logits), at_least_float32(deltas))

    def _losses(self, output: AnchorOutput, objects: PaddedObjects) -> dict[str, Tensor]:
        with full_precision(output.logits):
            return self.losses(output, objects)

    def _predictions(self, batch: ImageBatch, output: AnchorOutput) -> list[Prediction]:
        check_finite(output.logits, output.deltas)
        with full_precision(output.logits):
            per_image = zip(self.scores(output), output.deltas, batch.sizes, strict=True)
            return [self._postprocess(output, *image) for image in per_image]

    def _postprocess(self, output: AnchorOutput, scores: Tensor, deltas: Tensor, size: tuple[int, int]) -> Prediction:
        """Return the prediction of an image from its scores [A, K] and deltas [A, 4]."""
        indices, labels = self.select_candidates(scores, output.anchors_per_level)
        boxes = clip_boxes_to_image(self.box_coder.decode(deltas[indices], output.anchors[indices]), size)
        return filter_detections(Candidates(boxes, scores[indices, labels], labels), self.nms)


def topk_per_level(
    scores: Tensor, anchors_per_level: Sequence[int], score_threshold: float, k: int
) -> tuple[Tensor, Tensor]:
    """Select the best pairs of anchor and class of each level.

    Args:
        scores: [A, K].
        anchors_per_level: number of the A anchors of each level.
        score_threshold: pairs with at most this score are dropped.
        k: maximum number of pairs of a level.

    Returns:
        Indices of anchors [N] and labels [N].
    """
    selected, first = [], 0
    for level in scores.split(list(anchors_per_level)):
        flat = level.flatten()
        above = torch.where(flat > score_threshold)[0]
        if len(above) > k:
            above = above[flat[above].topk(k).indices]
        selected.append(above + first)
        first += len(flat)
    pairs, classes = torch.cat(selected), scores.shape[1]
    return pairs // classes, pairs % classes


def topk_per_class(scores: Tensor, score_threshold: float, k: int) -> tuple[Tensor, Tensor]:
    """Select the best anchors of each class.

    Args:
        scores: [A, K].
        score_threshold: anchors with at most this score are dropped.
        k: maximum number of anchors of a class.

    Returns:
        Indices of anchors [N] and labels [N].
    """
    needed = int((scores > score_threshold).sum(dim=0).amax())
    values, anchors = scores.t().contiguous().topk(min(k, needed), dim=1)
    labels, ranks = torch.where(values > score_threshold)
    return anchors[labels, ranks], labels
