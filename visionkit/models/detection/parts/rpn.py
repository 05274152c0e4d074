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
from torchvision.ops import batched_nms, clip_boxes_to_image

from visionkit.models.detection.parts.anchors import AnchorGenerator
from visionkit.ops.balanced_sampler import BalancedSampler
from visionkit.ops.box_coder import BoxCoder
from visionkit.ops.boxes import has_area
from visionkit.ops.float32 import at_least_float32
from visionkit.ops.matching import LowQualityMatcher, Objects, assign
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
        self.box_coder = BoxCoder(weights=(1.0, 1.0, 1.0, 1.0))

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

    def propose(self, output: RPNOutput, sizes: Sequence[tuple[int, int]], for_training: bool) -> list[Tensor]:
        """Turn the best anchors into proposals, without gradient.

        Args:
            output: result of `forward`.
            sizes: (height, width) of each image in pixels.
            for_training: whether the numbers of training or those of evaluation are used.

        Returns:
            Per image float32 [P, 4], in descending order of objectness.
        """
        options = self.options
        pre_nms_top_n, post_nms_top_n = (
            (options.pre_nms_top_n_train, options.post_nms_top_n_train)
            if for_training
            else (options.pre_nms_top_n_test, options.post_nms_top_n_test)
        )
        indices, levels = _best_per_level(output, pre_nms_top_n)
        objectness = output.objectness.detach().gather(1, indices).sigmoid()
        deltas = output.deltas.detach().gather(1, indices[..., None].expand(-1, -1, 4))
        boxes = self.box_coder.decode(deltas, output.anchors[indices])
        proposals = []
        for image_boxes, scores, size in zip(boxes, objectness, sizes, strict=True):
            clipped = clip_boxes_to_image(image_boxes, size)
            valid = torch.where(has_area(clipped, MIN_PROPOSAL_SIDE) & (scores >= options.score_threshold))[0]
            kept = batched_nms(clipped[valid], scores[valid], levels[valid], options.nms_iou)
            proposals.append(clipped[valid[kept[:post_nms_top_n]]])
        return proposals

    def losses(
        self, output: RPNOutput, objects: Sequence[Objects], sizes: Sequence[tuple[int, int]]
    ) -> dict[str, Tensor]:
        """Compute the losses of a sample of anchors (Ren et al. 2015, equation 1).

        Args:
            output: result of `forward`.
            objects: ground truth of each image.
            sizes: (height, width) of each image in pixels.

        Returns:
            `loss_rpn_objectness` (cross-entropy, mean over the sample) and `loss_rpn_box` (smooth L1, summed over
            coordinates and matched anchors, divided by the size of the sample).
        """
        classes, matched = self.anchor_targets(output.anchors, objects, sizes)
        sampled = zip(*map(self.sampler, classes), strict=True)
        positive, negative = (torch.where(torch.cat(masks))[0] for masks in sampled)
        sample = torch.cat([positive, negative])
        size = max(len(sample), 1)
        logits = output.objectness.flatten()[sample]
        objectness = functional.binary_cross_entropy_with_logits(
            logits, torch.cat(classes)[sample].to(logits.dtype), reduction="sum"
        )
        deltas = self.box_coder.encode(
            torch.cat([image_objects.boxes for image_objects in objects])[torch.cat(matched)[positive]],
            output.anchors[positive % len(output.anchors)],
        )
        box = functional.smooth_l1_loss(
            output.deltas.flatten(0, 1)[positive], deltas, beta=SMOOTH_L1_BETA, reduction="sum"
        )
        return {"loss_rpn_objectness": objectness / size, "loss_rpn_box": box / size}

    def anchor_targets(
        self, anchors: Tensor, objects: Sequence[Objects], sizes: Sequence[tuple[int, int]]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Match anchors to objects.

        Args:
            anchors: float32 [A, 4], the same for each image.
            objects: ground truth of each image.
            sizes: (height, width) of each image in pixels.

        Returns:
            Per image int64 [A], 1 for matched anchors, 0 for background, -1 for ignored ones; and per image int64 [A],
            index of the matched object among the objects of all images.
        """
        classes, matched, num_objects = [], [], 0
        assign_in_image = self._assign_inside if self.inside_only else self._assign_all
        for image_objects, size in zip(objects, sizes, strict=True):
            one_class = image_objects._replace(labels=torch.zeros_like(image_objects.labels))
            image_classes, image_matched = assign_in_image(anchors, one_class, size)
            classes.append(image_classes)
            matched.append(image_matched + num_objects)
            num_objects += len(image_objects.boxes)
        return classes, matched

    def _assign_all(self, anchors: Tensor, objects: Objects, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        return assign(anchors, objects, self.matcher)

    def _assign_inside(self, anchors: Tensor, objects: Objects, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return the same as `assign` for the anchors inside an image of `size`; the others are ignored."""
        height, width = size
        edges = anchors.new_tensor([width, height])
        inside = torch.where((anchors[:, :2] >= 0).all(dim=1) & (anchors[:, 2:] <= edges).all(dim=1))[0]
        if not len(inside):
            return self._assign_all(anchors, objects, size)
        classes, matched = assign(anchors[inside], objects, self.matcher)
        ignored = classes.new_full((len(anchors),), -1)
        return ignored.index_copy(0, inside, classes), torch.zeros_like(ignored).index_copy(0, inside, matched)


def _per_anchor(level: Tensor, values: int) -> Tensor:
    """Return [B, h w A, values] of a map [B, A values, h, w], as torchvision orders anchors."""
    return level.permute(0, 2, 3, 1).reshape(len(level), -1, values)


def _best_per_level(output: RPNOutput, top_n: int) -> tuple[Tensor, Tensor]:
    """Return the indices [B, P] of the best anchors of each level, and the level [P] of each column."""
    indices, counts, start = [], [], 0
    for objectness in output.objectness.detach().split(output.anchors_per_level, 1):
        counts.append(min(top_n, objectness.shape[1]))
        indices.append(objectness.topk(counts[-1], dim=1).indices + start)
        start += objectness.shape[1]
    levels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    return torch.cat(indices, dim=1), levels.to(output.objectness.device)
