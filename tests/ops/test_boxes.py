import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.ops import box_iou

from visionkit.ops.boxes import box_centers, has_area, mirrored, paired_iou, share_inside

corner = st.integers(-20, 20)
length = st.integers(1, 20)
box = st.builds(lambda x, y, w, h: (x, y, x + w, y + h), corner, corner, length, length)


def covered_cells(a, b):
    return sum(
        b[0] <= x < b[2] and b[1] <= y < b[3] for x in range(a[0], a[2]) for y in range(a[1], a[3])
    )  # fmt: skip


@given(st.lists(box, min_size=1, max_size=3), st.lists(box, min_size=1, max_size=3))
def test_share_inside_counts_cells(boxes, regions):
    shares = share_inside(torch.tensor(boxes).float(), torch.tensor(regions).float())
    for i, a in enumerate(boxes):
        for j, b in enumerate(regions):
            expected = covered_cells(a, b) / ((a[2] - a[0]) * (a[3] - a[1]))
            assert shares[i, j].item() == torch.tensor(expected).item()


def test_a_box_without_area_has_no_share_inside():
    assert share_inside(torch.tensor([[3.0, 3, 3, 8]]), torch.tensor([[0.0, 0, 10, 10]])).tolist() == [[0.0]]


def test_has_area_refuses_thin_inverted_and_nan_boxes():
    boxes = torch.tensor([[0.0, 0, 1, 1], [0, 0, 0.5, 9], [5, 5, 1, 1], [0, math.nan, 9, 9]])
    assert has_area(boxes, 1.0).tolist() == [True, False, False, False]


@given(st.lists(box, min_size=1, max_size=3), st.integers(1, 50))
def test_a_mirrored_box_covers_the_mirrored_pixels(boxes, width):
    flipped = mirrored(torch.tensor(boxes).float(), width)
    assert torch.equal(mirrored(flipped, width), torch.tensor(boxes).float())
    for (left, top, right, bottom), box_ in zip(boxes, flipped.tolist(), strict=True):
        pixels = {width - 1 - x for x in range(left, right)}
        assert box_ == [min(pixels), top, max(pixels) + 1, bottom]


@given(st.lists(st.tuples(box, box), min_size=1, max_size=5))
def test_paired_iou_is_the_diagonal_of_all_pairs(pairs):
    boxes, others = (torch.tensor(column).float() for column in zip(*pairs, strict=True))
    torch.testing.assert_close(paired_iou(boxes, others), box_iou(boxes, others).diagonal())


def test_paired_iou_broadcasts_and_is_zero_without_area():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [3, 3, 3, 3]])
    assert paired_iou(boxes, boxes[0]).tolist() == pytest.approx([1.0, 0.5, 0.0])
    assert paired_iou(boxes[2], boxes[2]).item() == 0


def test_box_centers():
    assert box_centers(torch.tensor([[0.0, 2, 10, 4], [-4, 0, 4, 1]])).tolist() == [[5, 3], [0, 0.5]]
