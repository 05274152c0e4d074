"""Weighted box fusion (Solovyev et al. 2019): one set of detections from several views or models."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from visionkit.ops.boxes import paired_iou
from visionkit.ops.float32 import check_finite
from visionkit.ops.nms import Candidates


class Clusters(NamedTuple):
    """Clusters of boxes of G classes; each class has N slots, filled from the first.

    Attributes:
        boxes: float32 [G, N, 4], mean boxes weighted by score.
        weight: float32 [G, N], sum of the members' scores.
        members: float32 [G, N], number of members; 0 in a free slot.
    """

    boxes: Tensor
    weight: Tensor
    members: Tensor


def fuse_boxes(views: Sequence[Candidates], iou: float = 0.55) -> Candidates:
    """Merge overlapping boxes of a class into their weighted mean; boxes that all views found score highest.

    The boxes of each class are taken in descending score order. Each joins the cluster that it overlaps most if their
    IoU is above `iou`, or else starts a new cluster. A cluster's box is the mean of its members, weighted by score
    (section 2, steps 1 to 5). Its score is the mean of its members' scores times min(members, views) / views (step 6).
    All classes are processed at once, in as many steps as the most frequent class has boxes.

    Args:
        views: detections of each view of the image, in the same pixels.
        iou: a box joins a cluster above this IoU, in 0..1 (section 3).

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
    padded_boxes, padded_scores = _pad_per_class(boxes, scores, group, len(classes))
    clusters = _cluster(padded_boxes, padded_scores, iou)
    share = clusters.members.clamp(max=len(views)) / len(views)
    fused = clusters.weight / clusters.members.clamp(min=1) * share
    group, slot = torch.where(clusters.members > 0)
    order = fused[group, slot].sort(descending=True, stable=True).indices
    group, slot = group[order], slot[order]
    return Candidates(clusters.boxes[group, slot], fused[group, slot], classes[group])


def _pad_per_class(boxes: Tensor, scores: Tensor, group: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Return boxes [G, N, 4] and scores [G, N] of each group, best first; padding has the score -1."""
    order = scores.sort(descending=True, stable=True).indices
    order = order[group[order].sort(stable=True).indices]
    counts = group.bincount(minlength=groups)
    starts = counts.cumsum(0) - counts
    rows = group[order]
    columns = torch.arange(len(scores), device=scores.device) - starts[rows]
    width = int(counts.max())
    padded_boxes, padded_scores = boxes.new_zeros(groups, width, 4), scores.new_full((groups, width), -1.0)
    padded_boxes[rows, columns], padded_scores[rows, columns] = boxes[order], scores[order]
    return padded_boxes, padded_scores


def _cluster(boxes: Tensor, scores: Tensor, iou: float) -> Clusters:
    """Return the clusters of boxes [G, N, 4] with scores [G, N], best first."""
    groups, number = scores.shape
    row = torch.arange(groups, device=scores.device)
    clusters = Clusters(torch.zeros_like(boxes), torch.zeros_like(scores), torch.zeros_like(scores))
    for step in range(number):
        box, score = boxes[:, step], scores[:, step]
        overlaps = paired_iou(clusters.boxes, box[:, None]).masked_fill(clusters.members == 0, -1.0)
        best, nearest = overlaps.max(dim=1)
        free = (clusters.members > 0).sum(dim=1)
        slot = torch.where(best > iou, nearest, free)
        is_box = score >= 0
        gain = score * is_box
        weight = clusters.weight[row, slot] + gain
        # A box of score 0 does not change a mean, but it is the box of a cluster that it starts.
        share = torch.where(weight > 0, gain / weight, 1.0)[:, None]
        moved = clusters.boxes[row, slot].lerp(box, share)
        clusters.boxes[row, slot] = torch.where(is_box[:, None], moved, clusters.boxes[row, slot])
        clusters.weight[row, slot] = weight
        clusters.members[row, slot] += is_box.float()
    return clusters
