import pytest
import torch

from tests.helpers.detectors import padded
from tests.helpers.yolo import SHAPES, objects
from visionkit.models.detection.parts.yolo_anchors import (
    YOLOAnchors,
    area_shares,
    cell_indices,
    match_cells,
    match_shapes,
)


def test_cell_indices_are_those_of_the_centers_even_on_the_edge():
    anchors, _ = YOLOAnchors(per_cell=2).grid((64, 96), [torch.zeros(1, 1, 2, 3)])
    boxes = torch.tensor([[0.0, 0, 10, 10], [40, 40, 50, 60], [64, 0, 96, 20], [95, 63, 97, 65], [31, 0, 33, 2]])
    assert cell_indices(boxes, anchors).tolist() == [0, 4, 2, 5, 1]
    torch.testing.assert_close(anchors[2 * 4], torch.tensor([32.0, 32.0, 64.0, 64.0]))


def test_of_two_objects_in_one_cell_the_first_is_matched_unless_their_shapes_differ():
    anchors, _ = YOLOAnchors(SHAPES).grid((64, 64), [torch.zeros(1, 1, 2, 2)])
    two = padded([objects([[5, 5, 25, 25], [4, 4, 24, 24], [0, 0, 30, 60]], [2, 1, 0])])
    (classes,), (matched,) = match_shapes(anchors, two, 2)
    assert classes.tolist() == [3, 1, 0, 0, 0, 0, 0, 0]
    assert matched[:2].tolist() == [0, 2]
    cells, _ = YOLOAnchors(per_cell=2).grid((64, 64), [torch.zeros(1, 1, 2, 2)])
    (classes,), (matched,) = match_cells(cells, two, 2)
    assert classes.tolist() == [3, 3, 0, 0, 0, 0, 0, 0]
    assert matched[:2].tolist() == [0, 0]


def test_background_anchors_in_a_crowd_are_ignored():
    anchors, _ = YOLOAnchors(SHAPES).grid((64, 64), [torch.zeros(1, 1, 2, 2)])
    image = objects([[5, 5, 25, 25]], [2], crowds=[[0, 0, 32, 64]])
    (classes, of_none), _ = match_shapes(anchors, padded([image, objects([], [])]), 2)
    assert not of_none.any()
    assert classes.tolist() == [3, -1, 0, 0, -1, -1, 0, 0]


def test_area_shares_are_relative_to_the_input():
    anchors, _ = YOLOAnchors(SHAPES).grid((64, 96), [torch.zeros(1, 1, 2, 3)])
    boxes = torch.tensor([[0.0, 0, 96, 64], [10, 10, 58, 42]])
    assert area_shares(boxes, anchors).tolist() == pytest.approx([1.0, 0.25])


def test_a_fixed_number_of_cells_ignores_the_size_of_the_map():
    anchors, anchors_per_level = YOLOAnchors(per_cell=2, cells=3).grid((90, 60), [torch.zeros(1, 1, 5, 7)])
    assert anchors_per_level == [18]
    assert anchors[-1].tolist() == [40, 60, 60, 90]
    assert YOLOAnchors(per_cell=2).shapes().shape == (0, 2)
    assert YOLOAnchors(SHAPES).shapes().tolist() == SHAPES
