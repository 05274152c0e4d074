import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionkit.data.datasets.repair_boxes import repair_boxes
from visionkit.errors import DataError

numbers = st.floats(-50, 150, width=32)


@given(st.lists(st.tuples(numbers, numbers, numbers, numbers), max_size=20))
def test_what_is_kept_lies_in_its_image_and_everything_is_accounted_for(rows):
    boxes = np.array(rows, np.float32).reshape(-1, 4)
    sizes = np.tile([80, 100], (len(boxes), 1))
    report = {}
    clipped, kept = repair_boxes(boxes, sizes, ["p"] * len(boxes), "drop", report)
    good = clipped[kept]
    assert (good >= 0).all()
    assert (good[:, [0, 2]] <= 100).all()
    assert (good[:, [1, 3]] <= 80).all()
    assert (good[:, 2:] - good[:, :2] >= 0.5).all()
    dropped = sum(count for reason, count in report.items() if "dropped" in reason)
    assert dropped == (~kept).sum()
    untouched = kept & (clipped == boxes).all(axis=1)
    assert untouched.sum() + sum(report.values()) == len(boxes)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_coordinates_that_are_no_numbers_always_raise(value):
    boxes = np.array([[0, 0, 5, 5], [0, 0, value, 5]], np.float32)
    with pytest.raises(DataError, match="image b"):
        repair_boxes(boxes, np.array([[9, 9]] * 2), ["a", "b"], "drop", {})
