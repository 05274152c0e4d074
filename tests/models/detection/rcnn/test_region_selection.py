import torch

from visionkit.models.detection.rcnn.region_selection import class_ious, negatives, regression_pairs
from visionkit.ops.matching import Objects

EMPTY = torch.zeros(0, 4)
REGIONS = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 20], [0, 0, 10, 40], [50, 50, 60, 60], [0, 6, 10, 16.0]])


def objects(boxes, labels, crowds=EMPTY):
    return Objects(
        torch.tensor(boxes, dtype=torch.float32).view(-1, 4), torch.tensor(labels, dtype=torch.int64), crowds
    )


def test_iou_is_that_of_the_nearest_object_of_each_class():
    ious = class_ious(REGIONS, objects([[0, 0, 10, 10], [0, 0, 10, 20], [50, 50, 60, 60]], [2, 2, 0]), 3)
    expected = [[0, 0, 1], [0, 0, 1], [0, 0, 0.5], [1, 0, 0], [0, 0, 0.5]]
    torch.testing.assert_close(ious, torch.tensor(expected).float(), atol=1e-6, rtol=0)


def test_negatives_of_a_class_include_objects_of_other_classes():
    is_negative = negatives(REGIONS, objects([[0, 0, 10, 10], [50, 50, 60, 60]], [1, 0]), 3, iou=0.3)
    assert is_negative.tolist() == [
        [True, False, True],
        [True, False, True],  # IoU 0.5
        [True, True, True],  # IoU 0.25
        [False, True, True],
        [True, True, True],  # IoU 0.25
    ]


def test_an_iou_equal_to_the_bound_is_not_negative():
    assert not negatives(REGIONS[:1], objects([[0, 0, 10, 30]], [0]), 1, iou=1 / 3).any()


def test_regions_in_a_crowd_are_not_negatives():
    is_negative = negatives(REGIONS, objects([], [], torch.tensor([[0.0, 0, 12, 20]])), 2, iou=0.3)
    assert is_negative[:, 0].tolist() == [False, False, False, True, False]  # half of the third is in the crowd
    assert (is_negative[:, 0] == is_negative[:, 1]).all()


def test_without_objects_all_regions_are_negatives_and_there_are_no_pairs():
    assert negatives(REGIONS, objects([], []), 2, iou=0.3).all()
    assert [len(column) for column in regression_pairs(REGIONS, objects([], []), 0.6)] == [0, 0]
    assert [len(column) for column in regression_pairs(EMPTY, objects([[0, 0, 1, 1]], [0]), 0.6)] == [0, 0]


def test_pairs_are_of_the_nearest_object_above_the_bound():
    image_objects = objects([[0, 0, 10, 12], [0, 0, 10, 25], [51, 50, 61, 60], [0, 6, 10, 16]], [0, 1, 2, 0])
    indices, nearest = regression_pairs(REGIONS, image_objects, 0.6)
    # IoU 10/12, 20/25, 25/40, 90/110, 1
    assert list(zip(indices.tolist(), nearest.tolist(), strict=True)) == [(0, 0), (1, 1), (2, 1), (3, 2), (4, 3)]
    assert regression_pairs(REGIONS, image_objects, 0.7)[0].tolist() == [0, 1, 3, 4]
    assert regression_pairs(REGIONS, image_objects, 0.8)[0].tolist() == [0, 3, 4], "more than the bound"
