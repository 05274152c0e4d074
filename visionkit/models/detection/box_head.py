"""The second stage of Faster R-CNN (Girshick 2015; Ren et al. 2015): classify and refine proposals.

The numbers are those of `torchvision.models.detection.roi_heads`. What differs: labels 0..K-1 outside (background is
class 0 inside only), boxes are decoded for scores above the threshold only, crowd regions are no background, and
losses and detections are methods of their own.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler, BoxCoder
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.ops import MultiScaleRoIAlign, clip_boxes_to_image, roi_pool
from torchvision.ops.poolers import initLevelMapper

from visionkit.models.detection.batch import Prediction, detections
from visionkit.models.detection.rpn import SMOOTH_L1_BETA
from visionkit.ops.matching import BandMatcher, Objects, assign
from visionkit.ops.region_align import SAMPLES, align_regions
from visionkit.ops.suppression import Candidates, Suppression


class Sample(NamedTuple):
    """Regions drawn from the proposals of a batch for the loss.

    Attributes:
        regions: per picture float32 [S, 4].
        classes: int64 [sum of S], 0 for background, 1..K for objects.
        references: float32 [P, 4], the object of each region whose class is above 0.
        matched: per picture int64, the index of that object among the picture's.
    """

    regions: list[Tensor]
    classes: Tensor
    references: Tensor
    matched: list[Tensor]


class RegionPool(MultiScaleRoIAlign):
    """RoIAlign (He et al. 2017) on the level that fits each region (Lin et al. 2016, equation 1).

    The scales come from the backbone's strides; torchvision guesses them from the first batch, wrongly so where that
    is small or padded much.

    Args:
        strides: of the levels by name, in pixels, shallow to deep.
        size: cells of the pooled map in each direction.
    """

    def __init__(self, strides: dict[str, int], size: int) -> None:
        super().__init__(list(strides), output_size=size, sampling_ratio=SAMPLES)
        self.strides, self.size = strides, size
        self.scales = [1 / stride for stride in strides.values()]
        exponents = [stride.bit_length() - 1 for stride in strides.values()]
        self.map_levels = initLevelMapper(exponents[0], exponents[-1])

    def forward(
        self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]] | None = None
    ) -> Tensor:
        """Cut regions out of the maps.

        Args:
            x: feature maps [B, C, h, w] by level, of any levels besides those it knows.
            boxes: per picture [S, 4] in pixels; R of them together.
            image_shapes: not needed.

        Returns:
            [R, C, size, size].
        """
        exporting = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined]
        if exporting or boxes[0].is_cuda or not any(map(len, boxes)):
            return super().forward(x, boxes, image_shapes or [])  # type: ignore[no-any-return]
        maps, strides = [x[name] for name in self.strides], list(self.strides.values())
        return align_regions(maps, strides, boxes, self.map_levels(boxes), self.size)  # type: ignore[misc]


class RegionMaxPool(nn.Module):
    """RoI max pooling on one map (Girshick 2015, section 2.1).

    Args:
        strides: of the one level by name, in pixels.
        size: cells of the pooled map in each direction.
    """

    def __init__(self, strides: dict[str, int], size: int) -> None:
        super().__init__()
        ((self.level, self.stride),) = strides.items()
        self.size = size

    def forward(self, maps: dict[str, Tensor], regions: list[Tensor]) -> Tensor:
        """Cut regions [S, 4] of each picture, R together, out of the maps [B, C, h, w]: [R, C, size, size]."""
        return roi_pool(maps[self.level], regions, self.size, 1 / self.stride)


class TwoLayerHead(TwoMLPHead):
    """Two fully connected layers on a pooled map.

    Args:
        inputs: values of one pooled map.
        channels: of both layers.
        dropout: share of values dropped after each (VGG: .5).
    """

    def __init__(self, inputs: int, channels: int, dropout: float) -> None:
        super().__init__(inputs, channels)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """From [R, C, h, w] to [R, channels]."""
        x = self.dropout(functional.relu(self.fc6(x.flatten(start_dim=1))))
        return self.dropout(functional.relu(self.fc7(x)))  # type: ignore[no-any-return]


class StageHead(nn.Module):
    """The last stages of a backbone and the mean over the map (He et al. 2015: conv5 as box head).

    Args:
        tail: what `Backbone.split` returned.
    """

    def __init__(self, tail: nn.Module) -> None:
        super().__init__()
        self.tail = tail

    def forward(self, x: Tensor) -> Tensor:
        """From [R, C, h, w] to [R, channels of the last stage]."""
        return self.tail(x.contiguous(memory_format=torch.channels_last)).mean(dim=(2, 3))  # type: ignore[no-any-return]


class RegionHeads(nn.Module):
    """Pools regions, classifies and refines them, and learns to.

    Args:
        pool: from feature maps and regions to [R, C, size, size].
        head: from that to [R, channels].
        channels: of the head's output.
        num_classes: K.
        foreground_iou: IoU from which a proposal is an object.
        background_iou: IoU below which it is background; between the two it teaches nothing.
        batch_size: proposals of each picture that enter the loss.
        positive_fraction: greatest share of objects among them.
        suppress: which of the detections stay, how many of them at most, and from which score.
        background_from: IoU that background has at least with an object, where the picture has one.
        smooth_l1_beta: where the boxes' loss turns from square to linear.
    """

    def __init__(
        self,
        pool: nn.Module,
        head: nn.Module,
        channels: int,
        num_classes: int,
        foreground_iou: float,
        background_iou: float,
        batch_size: int,
        positive_fraction: float,
        suppress: Suppression,
        background_from: float = 0.0,
        smooth_l1_beta: float = SMOOTH_L1_BETA,
    ) -> None:
        super().__init__()
        self.pool = pool
        self.box_head = head
        self.box_predictor = FastRCNNPredictor(channels, num_classes + 1)
        self.matcher = BandMatcher(foreground_iou, background_iou, background_from)
        self.smooth_l1_beta = smooth_l1_beta
        self.sampler = BalancedPositiveNegativeSampler(batch_size, positive_fraction)
        self.box_coder = BoxCoder(weights=(10.0, 10.0, 5.0, 5.0))  # Girshick's normalisation by .1 and .2
        self.suppress = suppress

    def forward(self, maps: dict[str, Tensor], regions: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Judge regions.

        Args:
            maps: feature maps [B, C, h, w] by level.
            regions: per picture float32 [S, 4] in pixels; R of them together.

        Returns:
            float32 logits [R, K + 1], background first, and box coding [R, K + 1, 4].
        """
        dtype = next(iter(maps.values())).dtype
        with torch.autocast(regions[0].device.type, enabled=False):
            pooled = self.pool({name: level.float() for name, level in maps.items()}, regions)
        logits, deltas = self.box_predictor(self.box_head(pooled.to(dtype)))
        return logits.float(), deltas.float().view(*logits.shape, 4)

    def sample(self, proposals: Sequence[Tensor], objects: Sequence[Objects]) -> Sample:
        """Draw the regions that enter the loss, from the proposals and the objects themselves."""
        candidates = [torch.cat([found, one.boxes]) for found, one in zip(proposals, objects, strict=True)]
        assigned = [assign(boxes, one, self.matcher) for boxes, one in zip(candidates, objects, strict=True)]
        chosen = [
            torch.where(positive | negative)[0]
            for positive, negative in zip(*self.sampler([classes for classes, _ in assigned]), strict=True)
        ]
        matched = [
            indices[picked][classes[picked] > 0] for (classes, indices), picked in zip(assigned, chosen, strict=True)
        ]
        return Sample(
            [boxes[picked] for boxes, picked in zip(candidates, chosen, strict=True)],
            torch.cat([classes[picked] for (classes, _), picked in zip(assigned, chosen, strict=True)]),
            torch.cat([one.boxes[indices] for one, indices in zip(objects, matched, strict=True)]),
            matched,
        )

    def losses(self, logits: Tensor, deltas: Tensor, sample: Sample) -> dict[str, Tensor]:
        """Compare judgements of a sample with its objects (Girshick 2015, equation 1).

        Returns:
            `loss_classifier` (cross-entropy, mean over the sample) and `loss_box` (smooth L1, summed over the
            objects' coordinates, divided by the sample's size).
        """
        size = max(len(sample.classes), 1)
        classifier = functional.cross_entropy(logits, sample.classes, reduction="sum")
        positive = torch.where(sample.classes > 0)[0]
        coding = self.box_coder.encode_single(sample.references, torch.cat(sample.regions)[positive])
        box = functional.smooth_l1_loss(
            deltas[positive, sample.classes[positive]], coding, beta=self.smooth_l1_beta, reduction="sum"
        )
        return {"loss_classifier": classifier / size, "loss_box": box / size}

    def detect(
        self, logits: Tensor, deltas: Tensor, proposals: Sequence[Tensor], sizes: Sequence[tuple[int, int]]
    ) -> list[Prediction]:
        """Turn judgements of proposals into detections.

        Args:
            logits: [R, K + 1], what `forward` returned for `proposals`.
            deltas: [R, K + 1, 4], likewise.
            proposals: per picture float32 [S, 4].
            sizes: (height, width) of each picture in pixels.

        Returns:
            Per picture boxes [M, 4], scores [M] falling, labels [M] in 0..K-1.
        """
        counts = [len(regions) for regions in proposals]
        scores = functional.softmax(logits, dim=-1)[:, 1:].split(counts)
        per_picture = zip(scores, deltas[:, 1:].split(counts), proposals, sizes, strict=True)
        return [self._detect_in_one(*picture) for picture in per_picture]

    def _detect_in_one(self, scores: Tensor, deltas: Tensor, proposals: Tensor, size: tuple[int, int]) -> Prediction:
        regions, labels = torch.where(scores > self.suppress.score_threshold)
        boxes = self.box_coder.decode_single(deltas[regions, labels], proposals[regions])
        found = Candidates(clip_boxes_to_image(boxes, size), scores[regions, labels], labels)
        return detections(found, self.suppress)
