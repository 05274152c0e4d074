import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.boxes import candidates, iou
from visionkit.errors import VisionkitError
from visionkit.ops.box_fusion import fuse_boxes
from visionkit.ops.nms import Candidates

IOU = 0.5503
"""No IoU of boxes on the tests' grid equals it."""


def slow_fusion(views, bound):
    """Solovyev et al. 2019, section 2, box by box; returns (label, score, box) of each cluster."""
    rows = [row for view in views for row in zip(*(column.tolist() for column in view), strict=True)]
    clusters = []
    for box, score, label in sorted(rows, key=lambda row: -row[1]):
        overlaps = [iou(box, mean(members)) if kind == label else -1 for kind, members in clusters]
        best = max(range(len(clusters)), key=overlaps.__getitem__, default=None)
        if best is not None and overlaps[best] > bound:
            clusters[best][1].append((box, score))
        else:
            clusters.append((label, [(box, score)]))
    fused = []
    for label, members in clusters:
        score = sum(score for _, score in members) / len(members) * min(len(members), len(views)) / len(views)
        fused.append((label, score, mean(members)))
    return fused


def mean(members):
    weight = sum(score for _, score in members)
    return [sum(box[side] * score for box, score in members) / weight for side in range(4)]


def without(rows, wanted):
    """Return `rows` without the first that equals `wanted` up to rounding."""
    for index, row in enumerate(rows):
        if all(abs(value - expected) < 1e-3 for value, expected in zip(row, wanted, strict=True)):
            return rows[:index] + rows[index + 1 :]
    raise AssertionError(f"{wanted} is not among {rows}")


@settings(max_examples=200)
@given(views=st.lists(candidates(most=10), min_size=1, max_size=4))
def test_it_equals_the_slow_reference(views):
    fused = fuse_boxes(views, IOU)
    expected = slow_fusion(views, IOU)
    columns = fused.labels.tolist(), fused.scores.tolist(), fused.boxes.tolist()
    left = [(label, score, *box) for label, score, box in zip(*columns, strict=True)]
    for label, score, box in expected:
        left = without(left, (label, score, *box))
    assert left == []
    assert (fused.scores.diff() <= 0).all()


def test_example_computed_by_hand():
    """Two views: an object that both found, one that the first found, and another class at the same place."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [50, 50, 60, 60]]), torch.tensor([[0.0, 0, 12, 10], [0, 0, 10, 10]])
    first = Candidates(boxes[0], torch.tensor([0.9, 0.8]), torch.tensor([4, 4]))
    second = Candidates(boxes[1], torch.tensor([0.3, 0.2]), torch.tensor([4, 7]))
    fused = fuse_boxes([first, second])
    assert fused.labels.tolist() == [4, 4, 7]
    assert fused.scores.tolist() == pytest.approx([0.6, 0.4, 0.1])
    assert fused.boxes[0].tolist() == pytest.approx([0, 0, 10.5, 10])


def test_separate_boxes_of_one_view_stay_unchanged():
    boxes = torch.tensor([[0.0, 0, 10, 10], [50, 50, 60, 60]])
    view = Candidates(boxes, torch.tensor([0.3, 0.8]), torch.tensor([1, 1]))
    fused = fuse_boxes([view])
    torch.testing.assert_close(fused.boxes, boxes.flip(0))
    torch.testing.assert_close(fused.scores, torch.tensor([0.8, 0.3]))


def test_empty_views_and_scores_of_zero():
    empty = Candidates(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    assert len(fuse_boxes([empty, empty]).scores) == 0
    zero = Candidates(torch.tensor([[1.0, 2, 3, 4]]), torch.zeros(1), torch.tensor([0]))
    fused = fuse_boxes([empty, zero])
    assert (fused.boxes.tolist(), fused.scores.tolist()) == ([[1, 2, 3, 4]], [0])


def test_nan_is_refused():
    broken = Candidates(torch.tensor([[0.0, 0, 1, 1]]), torch.tensor([math.nan]), torch.tensor([0]))
    with pytest.raises(VisionkitError, match="not finite"):
        fuse_boxes([broken])
