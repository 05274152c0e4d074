import numpy as np
import pytest
import torch

from visionkit.errors import VisionkitError
from visionkit.metrics.image_record import ImageRecord, as_array, as_floats

BOX = torch.tensor([[1.0, 2, 5, 10]])
PREDICTION = {"boxes": BOX, "scores": torch.tensor([0.5]), "labels": torch.tensor([1])}
TARGET = {"boxes": BOX, "labels": torch.tensor([0])}


def test_fields_that_a_target_lacks_get_defaults():
    record = ImageRecord.from_tensors(PREDICTION, TARGET)
    assert record.size == (0, 0)
    assert record.area.tolist() == [32.0], "that of the box"
    assert not record.crowd.any()
    assert not record.difficult.any()
    assert record.masks is record.true_masks is None


def test_empty_lists_of_boxes_have_four_columns():
    empty = {"boxes": [], "labels": []}
    record = ImageRecord.from_tensors({**empty, "scores": []}, empty)
    assert record.boxes.shape == record.true_boxes.shape == (0, 4)
    record.check(1, num_classes=1)


@pytest.mark.parametrize(
    ("prediction", "target", "message"),
    [
        ({"scores": torch.tensor([float("nan")])}, {}, "image 7: the model predicted NaN"),
        ({"labels": torch.tensor([2])}, {}, "predicted label 2, but labels are 0 to 1"),
        ({}, {"labels": torch.tensor([-1])}, "true label -1"),
        ({}, {"crowd": torch.tensor([True, False])}, "1 true boxes, but 2 crowd"),
        ({}, {"masks": []}, "1 true boxes, but 0 masks"),
    ],
)
def test_invalid_records_raise(prediction, target, message):
    record = ImageRecord.from_tensors({**PREDICTION, **prediction}, {**TARGET, **target})
    with pytest.raises(VisionkitError, match=message):
        record.check(7, num_classes=2)


def test_bfloat16_becomes_float64_without_loss():
    values = torch.tensor([0.5, 1.25], dtype=torch.bfloat16)
    assert as_floats(values).dtype == np.float64
    assert as_floats(values).tolist() == [0.5, 1.25]
    assert as_array([True, False], np.int64).tolist() == [1, 0]
