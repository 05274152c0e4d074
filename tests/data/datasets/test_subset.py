import numpy as np
import pytest

from visionkit.data.datasets.shapes import Shapes
from visionkit.data.datasets.subset import SubsetDataset


def test_a_subset_answers_as_its_reader_does():
    shapes = Shapes(count=9, size=48)
    subset = SubsetDataset(shapes, [7, 2, 2])
    assert len(subset) == 3
    assert (subset.class_names, subset.category_ids) == (shapes.class_names, shapes.category_ids)
    for inner, outer in enumerate([7, 2, 2]):
        assert subset[inner].image_id == outer
        assert subset.label(inner) == shapes.label(outer)
        np.testing.assert_array_equal(subset.tags(inner), shapes.tags(outer))
        np.testing.assert_array_equal(subset.annotation(inner).boxes, shapes.annotation(outer).boxes)
        assert subset.image_size(inner) == shapes.image_size(outer)
    with pytest.raises(IndexError):
        subset[3]
