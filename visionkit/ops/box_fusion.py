"""Weighted box fusion (Solovyev et al. 2019): what several looks at an image found, made one."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from visionkit.ops.boxes import paired_iou
from visionkit.ops.nms import Candidates
from visionkit.ops.precision import check_finite


class Clusters(NamedTuple):
    """Boxes that were put together, for G classes side by side; there are N places, filled from the left.

    Attributes:
        boxes: float32 [G, N, 4], means weighted by score.
        weight: float32 [G, N], sum of the members' scores.
        members: float32 [G, N], how many there are; 0 where the place is free.
    """

    boxes: Tensor
    weight: Tensor
    members: Tensor


def fuse_boxes(views: Sequence[Candidates], iou: float = 0.55) -> Candidates:
    """Put overlapping boxes of a class together, and trust those most that every look found.

    The boxes of each class are taken from the best score down. Each joins the cluster that it overlaps most, if by
    more than `iou`, or opens one; a cluster's box is the mean of its members' weighted by their scores (section 2,
    steps 1 to 5). A cluster scores the mean of its members, times the share of the looks that they could come from
    (step 6): min(members, looks) / looks. All classes are worked on at once; the steps are as many as the most
    frequent class has boxes.

    Args:
        views: what each view of the image found, in the same pixels.
        iou: overlap with a cluster's box from which a box joins it (section 3: .55).

    Returns:
        The clusters, best first.

    Raises:
        VisionkitError: a box or score is not finite.
    """
    boxes, scores, labels = (torch.cat(column) for column in zip(*views, strict=True))
    check_finite(boxes, scores)
    if not len(scores):
        return Candidates(boxes, scores, labels)
    classes, group = labels.unique(return_inverse=True)
    padded_boxes, padded_scores = _side_by_side(boxes, scores, group, len(classes))
    clusters = _cluster(padded_boxes, padded_scores, iou)
    share = clusters.members.clamp(max=len(views)) / len(views)
    fused = clusters.weight / clusters.members.clamp(min=1) * share
    group, place = torch.where(clusters.members > 0)
    order = fused[group, place].sort(descending=True, stable=True).indices
    group, place = group[order], place[order]
    return Candidates(clusters.boxes[group, place], fused[group, place], classes[group])


def _side_by_side(boxes: Tensor, scores: Tensor, group: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Boxes [G, N, 4] and scores [G, N] of each group, the best first; -1 is the score of what fills up."""
    order = scores.sort(descending=True, stable=True).indices
    order = order[group[order].sort(stable=True).indices]
    counts = group.bincount(minlength=groups)
    starts = counts.cumsum(0) - counts
    rows = group[order]
    places = torch.arange(len(scores), device=scores.device) - starts[rows]
    most = int(counts.max())
    padded_boxes, padded_scores = boxes.new_zeros(groups, most, 4), scores.new_full((groups, most), -1.0)
    padded_boxes[rows, places], padded_scores[rows, places] = boxes[order], scores[order]
    return padded_boxes, padded_scores


def _cluster(boxes: Tensor, scores: Tensor, iou: float) -> Clusters:
    """Put boxes [G, N, 4] with scores [G, N], the best first, into clusters."""
    groups, number = scores.shape
    row = torch.arange(groups, device=scores.device)
    clusters = Clusters(torch.zeros_like(boxes), torch.zeros_like(scores), torch.zeros_like(scores))
    for step in range(number):
        box, score = boxes[:, step], scores[:, step]
        overlaps = paired_iou(clusters.boxes, box[:, None]).masked_fill(clusters.members == 0, -1.0)
        best, nearest = overlaps.max(dim=1)
        free = (clusters.members > 0).sum(dim=1)
        place = torch.where(best > iou, nearest, free)
        real = score >= 0
        gain = score * real
        weight = clusters.weight[row, place] + gain
        # A box of score 0 would not move a mean, but alone in its cluster it is the cluster's box.
        pull = torch.where(weight > 0, gain / weight, 1.0)[:, None]
        moved = clusters.boxes[row, place].lerp(box, pull)
        clusters.boxes[row, place] = torch.where(real[:, None], moved, clusters.boxes[row, place])
        clusters.weight[row, place] = weight
        clusters.members[row, place] += real.float()
    return clusters
