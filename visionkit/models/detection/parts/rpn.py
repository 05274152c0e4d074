"""Region proposal network (Ren et al. 2015, section 3.1).

The results are those of `torchvision.models.detection.rpn`. Unlike there, boxes are decoded for the best anchors only,
deltas are encoded for the sampled anchors only, background in crowd regions is ignored in the loss, and losses and
proposals are separate methods, so that one forward pass gives both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.rpn import RPNHead

from visionkit.models.detection.parts.anchors import AnchorGenerator
from visionkit.ops.balanced_sampler import BalancedSampler
from visionkit.ops.box_coder import BoxCoder
from visionkit.ops.boxes import clip_boxes, has_area
from visionkit.ops.float32 import at_least_float32
from visionkit.ops.matching import LowQualityMatcher, PaddedObjects, assign
from visionkit.ops.nms import keep_in_groups
from visionkit.ops.waiting import from_host
from visionkit.option_checks import check_at_least, check_rising, check_within

MIN_PROPOSAL_SIDE = 1e-3
"""Pixels; clipped proposals with a smaller side are dropped (torchvision's `min_size`)."""

SMOOTH_L1_BETA = 1 / 9
"""Difference from which smooth L1 is linear (torchvision, after Detectron's sigma = 3)."""


@dataclass(frozen=True)
class RPNOptions:
    """Options of a region proposal network.

    Attributes:
        pre_nms_top_n_train: number of best anchors of each level and image that enter NMS in training.
        pre_nms_top_n_test: the same in evaluation.
        post_nms_top_n_train: maximum number of proposals per image after NMS in training.
        post_nms_top_n_test: the same in evaluation.
        nms_iou: proposals that overlap a better one of their level by more are dropped.
        fg_iou: an anchor with at least this IoU matches an object, besides the best anchor of each object (Ren et al.
            2015, section 3.1.2).
        bg_iou: an anchor with less than this IoU is background (the same section). Anchors between the two are ignored
            in the loss.
        batch_size_per_image: number of sampled anchors per image in the loss (section 3.1.3).
        positive_fraction: maximum share of matched anchors among them (section 3.1.3).
        score_threshold: minimum objectness of a proposal, in 0..1.

    Raises:
        ConfigError: a number is out of its range, or `bg_iou` is above `fg_iou`.

    Example:
        >>> import visionkit as vk
        >>> vk.RPNOptions(nms_iou=0.6).batch_size_per_image
        256
    """

    pre_nms_top_n_train: int = 2000
    pre_nms_top_n_test: int = 1000
    post_nms_top_n_train: int = 2000
    post_nms_top_n_test: int = 1000
    nms_iou: float = 0.7
    fg_iou: float = 0.7
    bg_iou: float = 0.3
    batch_size_per_image: int = 256
    positive_fraction: float = 0.5
    score_threshold: float = 0.0

    def __post_init__(self) -> None:
        check_at_least(
            1,
            pre_nms_top_n_train=self.pre_nms_top_n_train,
            pre_nms_top_n_test=self.pre_nms_top_n_test,
            post_nms_top_n_train=self.post_nms_top_n_train,
            post_nms_top_n_test=self.post_nms_top_n_test,
            batch_size_per_image=self.batch_size_per_image,
        )
        check_within(
            0,
            1,
            nms_iou=self.nms_iou,
            positive_fraction=self.positive_fraction,
            score_threshold=self.score_threshold,
        )
        check_rising(bg_iou=self.bg_iou, fg_iou=self.fg_iou)


class RPNOutput(NamedTuple):
    """Output of the RPN for a batch; A anchors over all levels.

    Attributes:
        anchors: float32 [A, 4], the same for each image.
        anchors_per_level: number of anchors of each level.
        objectness: float32 [B, A], logits.
        deltas: float32 [B, A, 4], relative to the anchors.
    """

    anchors: Tensor
    anchors_per_level: list[int]
    objectness: Tensor
    deltas: Tensor


class Proposals(NamedTuple):
    """Proposals of a batch, padded to the same number P of rows for each image, at least 1.

    Attributes:
        boxes: float32 [B, P, 4], xyxy in pixels of the images.
        valid: bool [B, P], which rows are proposals.
    """

    boxes: Tensor
    valid: Tensor

    def per_image(self) -> list[Tensor]:
        """Return the proposals [P, 4] of each image; waits for the device."""
        return [boxes[valid] for boxes, valid in zip(*self, strict=True)]


class RegionProposalNetwork(nn.Module):
    """Region proposal network: scores anchors and turns the best ones into proposals.

    Args:
        channels: channels of the feature maps.
        anchors: generates the anchors.
        options: numbers of proposals, thresholds and sampling.
        inside_only: whether anchors that cross the edge of their image are ignored in the loss (Ren et al. 2015,
            section 3.3). If all anchors cross it, none is ignored.
    """

    def __init__(self, channels: int, anchors: AnchorGenerator, options: RPNOptions, inside_only: bool = False) -> None:
        super().__init__()
        self.anchors, self.options, self.inside_only = anchors, options, inside_only
        self.head = RPNHead(channels, anchors.num_anchors_per_location()[0])
        self.matcher = LowQualityMatcher(options.fg_iou, options.bg_iou)
        self.sampler = BalancedSampler(options.batch_size_per_image, options.positive_fraction)
        self.box_coder = BoxCoder()

    def forward(self, maps: dict[str, Tensor], padded: tuple[int, int]) -> RPNOutput:
        """Return objectness and deltas of all anchors.

        Args:
            maps: feature map [B, channels, h, w] of each level.
            padded: height and width of the batch in pixels.
        """
        levels = list(maps.values())
        objectness, deltas = self.head(levels)
        anchors, anchors_per_level = self.anchors.grid(padded, levels)
        return RPNOutput(
            anchors,
            anchors_per_level,
            at_least_float32(torch.cat([_per_anchor(level, 1) for level in objectness], dim=1)).squeeze(2),
            at_least_float32(torch.cat([_per_anchor(level, 4) for level in deltas], dim=1)),
        )

    def propose(self, output: RPNOutput, sizes: Sequence[tuple[int, int]], for_training: bool) -> Proposals:
        """Turn the best anchors into proposals, in descending order of objectness, without gradient.

        Args:
            output: result of `forward`.
            sizes: (height, width) of each image in pixels.
            for_training: whether the numbers of training or those of evaluation are used.
        """
        options = self.options
        pre_nms_top_n, post_nms_top_n = (
            (options.pre_nms_top_n_train, options.post_nms_top_n_train)
            if for_training
            else (options.pre_nms_top_n_test, options.post_nms_top_n_test)
        )
        indices, counts = _best_per_level(output, pre_nms_top_n)
        scores = output.objectness.detach().gather(1, indices).sigmoid()
        deltas = output.deltas.detach().gather(1, indices[..., None].expand(-1, -1, 4))
        boxes = clip_boxes(self.box_coder.decode(deltas, output.anchors[indices]), image_edges(sizes, deltas))
        valid = has_area(boxes, MIN_PROPOSAL_SIDE) & (scores >= options.score_threshold)
        scores = scores.masked_fill(~valid, -torch.inf)
        kept = keep_in_groups(boxes, scores, counts, options.nms_iou, max(map(max, sizes)))
        best, order = scores.masked_fill(~kept, -torch.inf).topk(min(post_nms_top_n, scores.shape[1]), dim=1)
        return Proposals(boxes.gather(1, order[..., None].expand(-1, -1, 4)), best > -torch.inf)

    def losses(self, output: RPNOutput, objects: PaddedObjects, sizes: Sequence[tuple[int, int]]) -> dict[str, Tensor]:
        """Compute the losses of a sample of anchors (Ren et al. 2015, equation 1).

        Args:
            output: result of `forward`.
            objects: ground truth of the images.
            sizes: (height, width) of each image in pixels.

        Returns:
            `loss_rpn_objectness` (cross-entropy, mean over the sample) and `loss_rpn_box` (smooth L1, summed over
            coordinates and matched anchors, divided by the size of the sample).
        """
        classes, matched = self.anchor_targets(output.anchors, objects, sizes)
        anchors, used, max_positives = self.sampler(classes)
        wanted = classes.gather(1, anchors).to(output.objectness.dtype)
        entropy = functional.binary_cross_entropy_with_logits(
            output.objectness.gather(1, anchors), wanted, weight=used.to(wanted.dtype), reduction="sum"
        )
        size = used.sum().clamp(min=1)
        anchors = anchors[:, :max_positives]
        positive = (wanted * used)[:, :max_positives, None] > 0
        boxes = objects.boxes.gather(1, matched.gather(1, anchors)[..., None].expand(-1, -1, 4))
        deltas = self.box_coder.encode(boxes, output.anchors[anchors]).masked_fill(~positive, 0.0)
        predicted = output.deltas.gather(1, anchors[..., None].expand(-1, -1, 4)).masked_fill(~positive, 0.0)
        box = functional.smooth_l1_loss(predicted, deltas, beta=SMOOTH_L1_BETA, reduction="sum")
        return {"loss_rpn_objectness": entropy / size, "loss_rpn_box": box / size}

    def anchor_targets(
        self, anchors: Tensor, objects: PaddedObjects, sizes: Sequence[tuple[int, int]]
    ) -> tuple[Tensor, Tensor]:
        """Match anchors to objects.

        Args:
            anchors: float32 [A, 4], the same for each image.
            objects: ground truth of the images.
            sizes: (height, width) of each image in pixels.

        Returns:
            int64 [B, A], 1 for matched anchors, 0 for background, -1 for ignored ones; and int64 [B, A], index of the
            matched object among those of the image.
        """
        one_class = objects._replace(labels=torch.zeros_like(objects.labels))
        return assign(anchors, one_class, self.matcher, _inside(anchors, sizes) if self.inside_only else None)


def image_edges(sizes: Sequence[tuple[int, int]], like: Tensor) -> Tensor:
    """Return width and height [B, 2] of images of the `sizes` (height, width), on the device of `like`."""
    return from_host([(width, height) for height, width in sizes], like)


def _inside(anchors: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
    """Return which anchors [A, 4] do not cross the edge of each image; bool [B, A]. If all do, none counts."""
    right_and_bottom = (anchors[:, 2:] <= image_edges(sizes, anchors)[:, None]).all(dim=2)
    inside = right_and_bottom & (anchors[:, :2] >= 0).all(dim=1)
    return inside | ~inside.any(dim=1, keepdim=True)


def _per_anchor(level: Tensor, values: int) -> Tensor:
    """Return [B, h w A, values] of a map [B, A values, h, w], as torchvision orders anchors."""
    return level.permute(0, 2, 3, 1).reshape(len(level), -1, values)


def _best_per_level(output: RPNOutput, top_n: int) -> tuple[Tensor, list[int]]:
    """Return the indices [B, P] of the best anchors of each level, and their number in each level."""
    indices, counts, start = [], [], 0
    for objectness in output.objectness.detach().split(output.anchors_per_level, 1):
        counts.append(min(top_n, objectness.shape[1]))
        indices.append(objectness.topk(counts[-1], dim=1).indices + start)
        start += objectness.shape[1]
    return torch.cat(indices, dim=1), counts
