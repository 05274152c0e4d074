import numpy as np
import pytest
from pycocotools import mask as rle

from visionkit.errors import VisionkitError
from visionkit.metrics.coco_arrays import ground_truth_arrays, prediction_arrays
from visionkit.metrics.image_record import ImageRecord


def record(predicted=1, true=2, **target):
    boxes = np.array([[0.0, 0, 4, 2], [1, 1, 3, 5]])
    prediction = {"boxes": boxes[:predicted], "scores": [0.5] * predicted, "labels": [1] * predicted}
    return ImageRecord.from_tensors(prediction, {"boxes": boxes[:true], "labels": [0, 1][:true], **target})


def test_rows_of_all_images_follow_each_other_and_images_count_from_1():
    records = [record(), record(predicted=0, true=0), record(predicted=2, true=1)]
    truth, predictions = ground_truth_arrays(records, "bbox"), prediction_arrays(records, "bbox")
    assert truth.image_ids.tolist() == [1, 1, 3]
    assert predictions.image_ids.tolist() == [1, 3, 3]
    assert truth.boxes.tolist() == [[0, 0, 4, 2], [1, 1, 2, 4], [0, 0, 4, 2]]
    assert predictions.area.tolist() == [8, 8, 8]
    assert truth.masks is predictions.masks is None


def test_difficult_objects_become_crowd_regions():
    arrays = ground_truth_arrays([record(crowd=[True, False], difficult=[False, True])], "bbox")
    assert arrays.crowd.tolist() == [True, True]


def test_no_images_give_empty_arrays():
    assert len(ground_truth_arrays([], "bbox")) == len(prediction_arrays([], "segm")) == 0


def test_masks_are_kept_in_order_and_give_the_area():
    planes = np.zeros((6, 6, 2), np.uint8, order="F")
    planes[:2, :3, 0] = planes[0, 0, 1] = 1
    masks = rle.encode(planes)
    scored = record(predicted=2, masks=masks)
    scored.masks = masks
    predictions = prediction_arrays([scored], "segm")
    assert predictions.area.tolist() == [6, 1]
    selected = predictions.select(np.array([False, True]))
    assert selected.masks == [masks[1]]
    assert selected.boxes.tolist() == [[1, 1, 2, 4]]


def test_missing_masks_raise():
    with pytest.raises(VisionkitError, match="a prediction has none"):
        prediction_arrays([record()], "segm")
