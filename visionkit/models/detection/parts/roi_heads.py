"""Base of the RoI heads: sampled regions, losses, and predictions (Girshick 2015; Ren et al. 2015).

The results are those of `torchvision.models.detection.roi_heads`. Unlike there, public labels are 0..K-1 (background is
class 0 inside only), boxes are decoded for scores above the threshold only, background in crowd regions is ignored in
the loss, and losses and predictions are separate methods.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import clip_boxes_to_image

from visionkit.models.detection.parts.batch import filter_detections
from visionkit.models.detection.parts.rpn import SMOOTH_L1_BETA, Proposals
from visionkit.ops.balanced_sampler import BalancedSampler, BoxSample
from visionkit.ops.box_coder import BoxCoder
from visionkit.ops.boxes import rois_of
from visionkit.ops.matching import HardBackgroundMatcher, PaddedObjects, assign
from visionkit.ops.nms import Candidates, NMSOptions
from visionkit.ops.waiting import waits
from visionkit.option_checks import check_at_least, check_rising, check_within
from visionkit.structures import Prediction

Sampler = Callable[[Tensor], BoxSample]
"""From the classes [B, N] of all proposals to a sample of them."""


@dataclass(frozen=True)
class RoIOptions:
    """Options of how proposals are matched to objects and sampled for the loss.

    Attributes:
        batch_size_per_image: number of sampled proposals per image.
        positive_fraction: maximum share of matched proposals among them (Girshick 2015, section 2.3: 0.25).
        fg_iou: a proposal with at least this IoU matches an object (the same section: 0.5).
        bg_iou: a proposal with less than this IoU is background. Proposals between the two are ignored in the loss.
        min_bg_iou: background with less than this IoU is ignored, too, if the image has objects (the same section:
            0.1).

    Raises:
        ConfigError: a number is out of its range, or the IoUs do not rise.

    Example:
        >>> import visionkit as vk
        >>> vk.RoIOptions(batch_size_per_image=64).positive_fraction
        0.25
    """

    batch_size_per_image: int = 512
    positive_fraction: float = 0.25
    fg_iou: float = 0.5
    bg_iou: float = 0.5
    min_bg_iou: float = 0.0

    def __post_init__(self) -> None:
        check_at_least(1, batch_size_per_image=self.batch_size_per_image)
        check_within(0, 1, positive_fraction=self.positive_fraction)
        check_rising(min_bg_iou=self.min_bg_iou, bg_iou=self.bg_iou, fg_iou=self.fg_iou)


class RoISample(NamedTuple):
    """Regions of a batch that enter the loss, S per image.

    Attributes:
        regions: float32 [B, S, 4].
        used: bool [B, S]; the other regions fill the sample, so that all images have as many.
        classes: int64 [B, S], 0 for background, 1..K for objects; 0 where not used.
        matched: int64 [B, S], index of the matched object among those of the image.
        matched_boxes: float32 [B, S, 4], its box.
        max_positives: number of the first regions of an image that may match an object.
    """

    regions: Tensor
    used: Tensor
    classes: Tensor
    matched: Tensor
    matched_boxes: Tensor
    max_positives: int

    @property
    def rois(self) -> Tensor:
        """Number of the image and coordinates of each region, float32 [B S, 5]."""
        return rois_of(self.regions)


class RoIHeads(nn.Module):
    """Base of the second stage: samples regions, computes losses and makes predictions. Subclasses define `score`.

    Args:
        options: matching and sampling of proposals.
        nms: filter of overlapping detections.
        smooth_l1_beta: difference from which the smooth L1 loss of the boxes is linear.
    """

    def __init__(self, options: RoIOptions, nms: NMSOptions, smooth_l1_beta: float = SMOOTH_L1_BETA) -> None:
        super().__init__()
        self.options, self.nms, self.smooth_l1_beta = options, nms, smooth_l1_beta
        self.matcher = HardBackgroundMatcher(options.fg_iou, options.bg_iou, options.min_bg_iou)
        self.sampler: Sampler = BalancedSampler(options.batch_size_per_image, options.positive_fraction)
        self.box_coder = BoxCoder(weights=(10.0, 5.0))  # Girshick's normalization by 0.1 and 0.2

    def forward(
        self, maps: dict[str, Tensor], regions: Tensor | list[Tensor], used: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Score and refine regions.

        Args:
            maps: feature maps [B, C, h, w] by level.
            regions: per image float32 [S, 4] in pixels, R in total, or all with the number of their image [R, 5].
            used: bool [R], regions whose result is used; None for all.

        Returns:
            Logits float32 [R, K + 1], background first, and deltas [R, K + 1, 4]. On a CPU, where computing them would
            only take time, they are 0 for regions that are not used. On a GPU all are scored, so that BatchNorm layers
            of a head, if they train, count them too.
        """
        if used is None or waits(used):
            return self.score(maps, regions)
        assert isinstance(regions, Tensor)
        logits, deltas = (place_rows(rows, used) for rows in self.score(maps, regions[used]))
        return logits, deltas

    def score(self, maps: dict[str, Tensor], regions: Tensor | list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return logits and deltas of all regions; see `forward`."""
        raise NotImplementedError

    def sample(self, proposals: Proposals, objects: PaddedObjects) -> RoISample:
        """Sample the regions that enter the loss from the proposals and the boxes of the objects."""
        candidates = torch.cat([proposals.boxes, objects.boxes], dim=1)
        allowed = torch.cat([proposals.valid, objects.valid], dim=1)
        classes, matched = assign(candidates, objects, self.matcher, allowed)
        indices, used, max_positives = self.sampler(classes)
        classes, matched = classes.gather(1, indices).masked_fill(~used, 0), matched.gather(1, indices)
        regions = candidates.gather(1, indices[..., None].expand(-1, -1, 4))
        matched_boxes = objects.boxes.gather(1, matched[..., None].expand(-1, -1, 4))
        return RoISample(regions, used, classes, matched, matched_boxes, max_positives)

    def losses(self, logits: Tensor, deltas: Tensor, sample: RoISample) -> dict[str, Tensor]:
        """Compute the losses of a sample (Girshick 2015, equation 1).

        Returns:
            `loss_classifier` (cross-entropy, mean over the sample) and `loss_box` (smooth L1, summed over coordinates
            and matched regions, divided by the size of the sample).
        """
        return mean_losses(*self.losses_per_region(logits, deltas, sample), sample.used)

    def losses_per_region(self, logits: Tensor, deltas: Tensor, sample: RoISample) -> tuple[Tensor, Tensor]:
        """Return cross-entropy [B, S] and smooth L1 summed over coordinates [B, S], which is 0 for background."""
        classes = sample.classes.flatten()
        classifier = functional.cross_entropy(logits, classes, reduction="none")
        positive = (sample.classes > 0)[..., None]
        expected = self.box_coder.encode(sample.matched_boxes, sample.regions).masked_fill(~positive, 0.0)
        of_class = deltas.gather(1, classes.view(-1, 1, 1).expand(-1, 1, 4)).view_as(expected)
        predicted = of_class.masked_fill(~positive, 0.0)
        box = functional.smooth_l1_loss(predicted, expected, beta=self.smooth_l1_beta, reduction="none").sum(dim=-1)
        return classifier.view_as(box), box

    def predictions(
        self, logits: Tensor, deltas: Tensor, proposals: Sequence[Tensor], sizes: Sequence[tuple[int, int]]
    ) -> list[Prediction]:
        """Turn the outputs for proposals into predictions.

        Args:
            logits: [R, K + 1], of the proposals of all images, background first.
            deltas: [R, K + 1, 4].
            proposals: per image float32 [S, 4].
            sizes: (height, width) of each image in pixels.

        Returns:
            Per image boxes [M, 4], scores [M] in descending order, labels [M] in 0..K-1.
        """
        scores = functional.softmax(logits, dim=-1)[:, 1:]
        return self.predictions_from_scores(scores, deltas[:, 1:], proposals, sizes)

    def predictions_from_scores(
        self, scores: Tensor, deltas: Tensor, proposals: Sequence[Tensor], sizes: Sequence[tuple[int, int]]
    ) -> list[Prediction]:
        """Return the same as `predictions` from scores [R, K] in 0..1 and deltas [R, K, 4], without background."""
        counts = [len(regions) for regions in proposals]
        per_image = zip(scores.split(counts), deltas.split(counts), proposals, sizes, strict=True)
        return [self._image_prediction(*image) for image in per_image]

    def _image_prediction(self, scores: Tensor, deltas: Tensor, proposals: Tensor, size: tuple[int, int]) -> Prediction:
        regions, labels = torch.where(scores > self.nms.score_threshold)
        boxes = self.box_coder.decode(deltas[regions, labels], proposals[regions])
        candidates = Candidates(clip_boxes_to_image(boxes, size), scores[regions, labels], labels)
        return filter_detections(candidates, self.nms)


def place_rows(rows: Tensor, places: Tensor) -> Tensor:
    """Return [R, ...] with `rows` [N, ...] where `places` [R] is True, and 0 elsewhere."""
    return rows.new_zeros(len(places), *rows.shape[1:]).index_put((places,), rows)


def mean_losses(classifier: Tensor, box: Tensor, used: Tensor) -> dict[str, Tensor]:
    """Return the means of the losses [B, S] of the regions that are `used`; 0 without any."""
    size = used.sum().clamp(min=1)
    return {
        "loss_classifier": classifier.masked_fill(~used, 0.0).sum() / size,
        "loss_box": box.masked_fill(~used, 0.0).sum() / size,
    }
