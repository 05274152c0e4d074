import albumentations
import numpy as np
import pytest

from tests.helpers.samples import sample
from visionkit.data.transforms.commuting import MIRRORS, CommutingStage, count_commuting
from visionkit.data.transforms.create import create_transform
from visionkit.data.transforms.stage import Stage
from visionkit.errors import ConfigError


def created(*names):
    return [create_transform({"name": name, "p": 1.0}) for name in names]


def test_only_the_last_transforms_count():
    assert count_commuting([]) == 0
    assert count_commuting(created("ColorJitter", "HorizontalFlip")) == 2
    assert count_commuting(created("HorizontalFlip", "GaussianBlur")) == 0
    assert count_commuting(created("GaussNoise", "HorizontalFlip")) == 1


def test_another_transform_of_the_same_name_does_not_count():
    class ColorJitter(albumentations.GaussianBlur):
        pass

    assert count_commuting([ColorJitter()]) == 0


@pytest.mark.parametrize("names", [["HorizontalFlip"], ["VerticalFlip"], ["VerticalFlip", "HorizontalFlip"]])
def test_boxes_masks_and_proposals_are_those_of_the_general_stage(names):
    given = sample(6)
    given.proposals = given.annotation.boxes + 0.25
    expected, result = Stage(created(*names))(given), CommutingStage(created(*names))(given)
    np.testing.assert_array_equal(result.image, expected.image)
    np.testing.assert_array_equal(result.semantic, expected.semantic)
    np.testing.assert_allclose(result.annotation.boxes, expected.annotation.boxes, atol=1e-3)
    np.testing.assert_allclose(result.proposals, expected.proposals, atol=1e-3)
    assert result.annotation.masks == expected.annotation.masks


def test_a_mirror_that_is_not_drawn_moves_nothing():
    stage, given = CommutingStage([create_transform({"name": "HorizontalFlip", "p": 0.0})]), sample(3)
    assert stage(given).annotation.boxes is given.annotation.boxes


def test_each_mirror_is_an_involution():
    given = sample(4)
    for transform in MIRRORS:
        stage = CommutingStage(created(transform.__name__))
        twice = stage(stage(given))
        np.testing.assert_array_equal(twice.image, given.image)
        np.testing.assert_allclose(twice.annotation.boxes, given.annotation.boxes)


def test_an_image_that_a_transform_does_not_accept_is_named():
    given = sample(1)
    given.image = given.image.astype(np.int64)
    with pytest.raises(ConfigError, match="ColorJitter cannot be applied to the image a"):
        CommutingStage(created("ColorJitter"))(given)


def test_errors_of_visionkit_are_not_rewritten():
    with pytest.raises(ConfigError, match=r"^PcaColorShift has no principal components"):
        CommutingStage(created("PcaColorShift"))(sample(1))
