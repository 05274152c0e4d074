import numpy as np
import pytest
import torch
from pycocotools import mask as rle

from visionkit.errors import VisionkitError
from visionkit.metrics.detection_columns import DetectionColumns, as_array, as_floats

BOXES = [[0.0, 0, 4, 2], [1, 1, 3, 5]]


def columns(*counts, first_id=1, **target):
    """Images with (predicted, true) boxes."""
    predictions, targets = [], []
    for image_id, (predicted, true) in enumerate(counts, start=first_id):
        predictions.append({"boxes": BOXES[:predicted], "scores": [0.5] * predicted, "labels": [1] * predicted})
        targets.append({"image_id": image_id, "boxes": BOXES[:true], "labels": [0, 1][:true], **target})
    return DetectionColumns.of_images(predictions, targets)


def test_rows_of_all_images_follow_each_other():
    found = columns((1, 2), (0, 0), (2, 1))
    assert found.true.images.tolist() == [0, 0, 2]
    assert found.predicted.images.tolist() == [0, 2, 2]
    assert found.true.boxes.tolist() == [*BOXES, BOXES[0]]
    assert found.sizes.tolist() == [[0, 0]] * 3


def test_fields_that_a_target_lacks_get_defaults():
    found = columns((1, 2)).true
    assert found.areas.tolist() == [8, 8], "those of the boxes"
    assert not found.ignored.any()
    assert found.masks == [None, None]


def test_fields_that_only_some_images_have():
    predictions = [{"boxes": [], "scores": [], "labels": []}] * 2
    targets = [
        {"image_id": 1, "boxes": torch.tensor(BOXES), "labels": torch.tensor([0, 1]), "area": torch.tensor([1.0, 2])},
        {"image_id": 2, "boxes": torch.tensor(BOXES[:1]), "labels": torch.tensor([0]), "crowd": torch.tensor([True])},
    ]
    found = DetectionColumns.of_images(predictions, targets).true
    assert found.areas.tolist() == [1, 2, 8]
    assert found.ignored.tolist() == [False, False, True]


def test_crowds_and_difficult_objects_are_ignored():
    assert columns((0, 2), crowd=[True, False], difficult=[False, True]).true.ignored.tolist() == [True, True]


def test_no_images_give_empty_columns():
    for found in (DetectionColumns.joined([]), DetectionColumns.of_images([], []), columns((0, 0))):
        assert found.predicted.boxes.shape == found.true.boxes.shape == (0, 4)
        assert found.predicted.compared_areas("segm").shape == (0,)


def test_joined_images_are_sorted_and_the_last_one_of_an_id_stays():
    found = DetectionColumns.joined([columns((0, 1), (2, 0), first_id=3), columns((1, 2), (0, 2), first_id=2)])
    assert found.image_ids == [2, 3, 4]
    assert found.predicted.images.tolist() == [0, 2, 2]
    assert found.true.images.tolist() == [0, 0, 1, 1]
    names = DetectionColumns.joined([columns((0, 0), first_id=10), columns((0, 0), first_id=9)])
    assert names.image_ids == [9, 10], "by value, not by text"


def test_selected_images_are_in_the_given_order_and_may_be_left_out():
    found = columns((1, 2), (0, 0), (2, 1)).select([2, 0])
    assert found.image_ids == [3, 1]
    assert found.predicted.images.tolist() == [0, 0, 1]
    assert found.true.labels.tolist() == [0, 0, 1]


def test_predictions_of_each_image():
    first, second, third = columns((1, 2), (0, 0), (2, 1)).predictions()
    assert (first["image_id"], len(first["boxes"]), len(second["boxes"]), third["labels"].tolist()) == (1, 1, 0, [1, 1])


def test_masks_are_kept_in_order_and_give_the_area():
    planes = np.zeros((6, 6, 2), np.uint8, order="F")
    planes[:2, :3, 0] = planes[0, 0, 1] = 1
    masks = rle.encode(planes)
    prediction = {"boxes": BOXES, "scores": [0.5, 0.4], "labels": [0, 0], "masks": masks}
    found = DetectionColumns.of_images([prediction], [{"image_id": 1, "boxes": [], "labels": []}]).predicted
    assert found.compared_areas("segm").tolist() == [6, 1]
    assert found.compared_areas("bbox").tolist() == [8, 8]
    selected = found.take(np.array([False, True]))
    assert (selected.masks, selected.boxes.tolist()) == ([masks[1]], [BOXES[1]])


def test_missing_masks_raise():
    with pytest.raises(VisionkitError, match="a prediction has none"):
        columns((1, 0)).predicted.compared_areas("segm")


def test_bfloat16_becomes_float64_without_loss():
    values = torch.tensor([0.5, 1.25], dtype=torch.bfloat16)
    assert as_floats(values).dtype == np.float64
    assert as_floats(values).tolist() == [0.5, 1.25]
    assert as_array([True, False], np.int64).tolist() == [1, 0]
