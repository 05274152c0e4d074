import dataclasses

import numpy as np
import pytest

from tests.helpers.flat_images import Flat
from tests.helpers.pretrained import pretrained
from visionkit.data.datasets.shapes import Shapes
from visionkit.engine.transfer_statistics import (
    LARGE_FROM,
    SIMILAR_BELOW,
    TransferStatistics,
    transfer_statistics,
)
from visionkit.errors import DataError


@pytest.fixture(scope="module")
def backbone():
    made = pretrained()
    made.native_size = 32
    return made


def statistics(**given):
    return dataclasses.replace(TransferStatistics(1, {}, 1, (1, 1), [], [], {}), **given)


def test_statistics_of_a_labeled_set(backbone):
    result = transfer_statistics(Flat([0, 0, 1]), backbone, "classification")
    assert result.examples == {"a": 2, "b": 1}
    assert (result.images, result.sample_size, result.median_size) == (3, 3, (20, 30))
    assert result.mean == pytest.approx([0.2, 0.4, 0.8], abs=1e-6)
    assert result.std == pytest.approx([0, 0, 0], abs=1e-3)
    assert result.mean_distance == pytest.approx(np.mean(list(result.distance.values())))


def test_images_with_each_class_in_their_mask_are_counted(backbone):
    result = transfer_statistics(Flat([None] * 3, masks=[1, 255, 1]), backbone, "segmentation")
    assert result.examples == {"a": 0, "b": 2}


def test_objects_are_counted(backbone):
    reader = Shapes(count=4, size=32)
    result = transfer_statistics(reader, backbone, "detection")
    assert sum(result.examples.values()) == sum(len(reader.annotation(index)) for index in range(4))


def test_an_empty_set_raises(backbone):
    with pytest.raises(DataError, match="no images"):
        transfer_statistics(Flat([]), backbone, "classification")


def test_bounds():
    many = statistics(examples={"a": LARGE_FROM, "b": LARGE_FROM, "c": 1, "never": 0})
    assert many.is_large
    assert not statistics(examples={"a": LARGE_FROM, "b": 1, "c": 1}).is_large
    assert not statistics(examples={"a": 0}).is_large
    assert statistics(distance={"s4": 0.0, "s8": 2 * SIMILAR_BELOW - 0.01}).is_similar
    assert statistics(distance={"s4": 0.0, "s8": 2 * SIMILAR_BELOW + 0.01}).is_similar is False
    assert statistics().is_similar is None
