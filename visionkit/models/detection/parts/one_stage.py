"""What detectors share that classify and refine a dense grid of boxes in one pass (SSD, RetinaNet, YOLO)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.ops import clip_boxes_to_image

from visionkit.backbones.base import Backbone
from visionkit.errors import ConfigError, VisionkitError
from visionkit.models.base import DetectionModel
from visionkit.models.detection.parts.anchors import KeptGrids
from visionkit.models.detection.parts.batch import ImageBatch, check_images, detections, pad_to_batch, split_targets
from visionkit.ops.matching import Objects, assign
from visionkit.ops.nms import Candidates, NMSOptions
from visionkit.ops.precision import check_finite, full_precision
from visionkit.structures import Prediction, Target


class DenseOutput(NamedTuple):
    """What a one-stage network says about a batch; A anchors over all levels.

    Attributes:
        anchors: float32 [A, 4], the same for each image.
        per_level: how many of them each level has.
        logits: float32 [B, A, C]; what C is, the network knows.
        deltas: float32 [B, A, 4], boxes coded relative to the anchors.
    """

    anchors: Tensor
    per_level: list[int]
    logits: Tensor
    deltas: Tensor


class AnchorTargets(NamedTuple):
    """What the anchors of a batch should learn; P of them are objects.

    Attributes:
        classes: int64 [B, A], 1..K for objects, 0 for background, -1 for anchors that teach nothing.
        image: int64 [P], of each anchor that is an object.
        anchor: int64 [P], which it is.
        references: float32 [P, 4], the object's box.
    """

    classes: Tensor
    image: Tensor
    anchor: Tensor
    references: Tensor


class OneStageDetector(DetectionModel):
    """Backbone, neck and head; a subclass says how to learn (`losses`) and what a logit means (`scores`, `choose`).

    Args:
        backbone: of the subclass's choice.
        num_classes: K, without background; labels are 0..K-1.
        neck: from the backbone's maps to those of the levels.
        head: from a list of maps [B, c, h, w] to `cls_logits` [B, A, C] and `bbox_regression` [B, A, 4].
        anchors: makes the grid.
        matcher: from IoU to matches; None where the subclass has a `match` of its own.
        box_coder: what the head's boxes mean.
        suppress: which of overlapping detections stay.

    Raises:
        ConfigError: no class to detect.
    """

    size_multiple = 32
    """Pixels; the batch is padded to whole cells of the backbone's deepest map."""

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        neck: nn.Module,
        head: nn.Module,
        anchors: KeptGrids,
        matcher: Matcher | None,
        box_coder: BoxCoder,
        nms: NMSOptions,
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise ConfigError(f"num_classes={num_classes}: a detector needs at least one class besides background")
        self.num_classes = num_classes
        self.backbone, self.neck, self.head = backbone, neck, head
        self.anchors, self.matcher, self.box_coder, self.nms = anchors, matcher, box_coder, nms
        self.to(memory_format=torch.channels_last)

    def losses(self, output: DenseOutput, objects: Sequence[Objects]) -> dict[str, Tensor]:
        """Compare what was said with the objects of each image; runs in float32."""
        raise NotImplementedError

    def scores(self, output: DenseOutput) -> Tensor:
        """Scores [B, A, K] in 0..1."""
        raise NotImplementedError

    def choose(self, scores: Tensor, per_level: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Which anchors [N] of an image, as which labels [N], go into NMS, by their scores [A, K]."""
        raise NotImplementedError

    def decode(self, deltas: Tensor, anchors: Tensor) -> Tensor:
        """Boxes [N, 4] in pixels from their coding [N, 4] and anchors [N, 4]."""
        boxes: Tensor = self.box_coder.decode_single(deltas, anchors)
        return boxes

    def forward(
        self,
        images: list[Tensor],
        targets: list[Target] | None = None,
        proposals: list[Tensor] | None = None,
    ) -> dict[str, Tensor] | list[Prediction]:
        """Learn from images, or detect in them.

        Args:
            images: normalized float [3, H, W] each.
            targets: in training, per image `boxes` float32 [N, 4] xyxy in its pixels, `labels` int64 [N] in 0..K-1,
                and optionally `crowd` bool [N] (regions that train as nothing) and `image_id` (for messages).
            proposals: not used.

        Returns:
            In training a dict of losses. Else per image `boxes` float32 [M, 4] in its pixels, `scores` [M] falling,
            `labels` int64 [M] in 0..K-1.

        Raises:
            DataError: images or targets that cannot be right; names the image.
            VisionkitError: in evaluation, when the network's output is not finite.
        """
        if not self.training:
            return self._detect(*self._forward_view(images))
        if targets is None:
            raise VisionkitError("a detector in training mode needs targets; call eval() to predict")
        objects = split_targets(targets, self.num_classes)
        _, output = self._forward_view(images)
        return self._learn(output, objects)

    def losses_and_predictions(
        self, images: list[Tensor], targets: list[Target]
    ) -> tuple[dict[str, Tensor], list[Prediction]]:
        """Both results of `forward`, in the present mode, from one pass."""
        objects = split_targets(targets, self.num_classes)
        batch, output = self._forward_view(images)
        return self._learn(output, objects), self._detect(batch, output)

    @property
    def nms_options(self) -> NMSOptions:
        """How overlapping predictions are filtered."""
        return self.nms

    def anchor_shapes(self, input_size: tuple[int, int] | None = None) -> Tensor:
        """Width and height [A, 2], in pixels of the network's input, of every kind of anchor; on the CPU."""
        return self.anchors.shapes(input_size)

    def match(self, anchors: Tensor, objects: Objects) -> tuple[Tensor, Tensor]:
        """Classes int64 [A] and the objects meant int64 [A] of the anchors of one image, as of `assign`."""
        assert self.matcher is not None
        return assign(anchors, objects, self.matcher)

    def anchor_targets(self, anchors: Tensor, objects: Sequence[Objects]) -> AnchorTargets:
        """Decide what each anchor [A, 4] should learn in each image."""
        found = [self.match(anchors, one) for one in objects]
        classes = torch.stack([kinds for kinds, _ in found])
        first, matched = 0, []
        for one, (_, indices) in zip(objects, found, strict=True):
            matched.append(indices + first)
            first += len(one.boxes)
        image, anchor = torch.where(classes > 0)
        references = torch.cat([one.boxes for one in objects])[torch.stack(matched)[image, anchor]]
        return AnchorTargets(classes, image, anchor, references)

    def box_errors(self, output: DenseOutput, anchor_targets: AnchorTargets) -> tuple[Tensor, Tensor]:
        """Coding [P, 4] as it was said and as it should be, of the anchors that are objects."""
        wanted: Tensor = self.box_coder.encode_single(anchor_targets.references, output.anchors[anchor_targets.anchor])
        return output.deltas[anchor_targets.image, anchor_targets.anchor], wanted

    def _forward_view(self, images: list[Tensor]) -> tuple[ImageBatch, DenseOutput]:
        batch = pad_to_batch(images, self.size_multiple)
        check_images(batch, self.backbone.std)
        levels = list(self.neck(self.backbone(batch.tensor)).values())
        said = self.head(levels)
        height, width = batch.tensor.shape[-2:]
        anchors, per_level = self.anchors.grid((height, width), levels)
        return batch, DenseOutput(anchors, per_level, said["cls_logits"].float(), said["bbox_regression"].float())

    def _learn(self, output: DenseOutput, objects: Sequence[Objects]) -> dict[str, Tensor]:
        with full_precision(output.logits):
            return self.losses(output, objects)

    def _detect(self, batch: ImageBatch, output: DenseOutput) -> list[Prediction]:
        check_finite(output.logits, output.deltas)
        with full_precision(output.logits):
            per_image = zip(self.scores(output), output.deltas, batch.sizes, strict=True)
            return [self._detect_in_one(output, *image) for image in per_image]

    def _detect_in_one(self, output: DenseOutput, scores: Tensor, deltas: Tensor, size: tuple[int, int]) -> Prediction:
        chosen, labels = self.choose(scores, output.per_level)
        boxes = clip_boxes_to_image(self.decode(deltas[chosen], output.anchors[chosen]), size)
        return detections(Candidates(boxes, scores[chosen, labels], labels), self.nms)


def best_of_each_level(scores: Tensor, per_level: Sequence[int], threshold: float, most: int) -> tuple[Tensor, Tensor]:
    """The best pairs of anchor and class of each level.

    Args:
        scores: [A, K].
        per_level: how many of the A anchors each level has.
        threshold: a pair scores more.
        most: pairs of a level at most.

    Returns:
        Anchors [N] and labels [N].
    """
    chosen, first = [], 0
    for level in scores.split(list(per_level)):
        flat = level.flatten()
        above = torch.where(flat > threshold)[0]
        if len(above) > most:
            above = above[flat[above].topk(most).indices]
        chosen.append(above + first)
        first += len(flat)
    pairs, classes = torch.cat(chosen), scores.shape[1]
    return pairs // classes, pairs % classes


def best_of_each_class(scores: Tensor, threshold: float, most: int) -> tuple[Tensor, Tensor]:
    """The best anchors of each class.

    Args:
        scores: [A, K].
        threshold: an anchor scores more.
        most: anchors of a class at most.

    Returns:
        Anchors [N] and labels [N].
    """
    needed = int((scores > threshold).sum(dim=0).amax())
    values, anchors = scores.t().contiguous().topk(min(most, needed), dim=1)
    labels, ranks = torch.where(values > threshold)
    return anchors[labels, ranks], labels
