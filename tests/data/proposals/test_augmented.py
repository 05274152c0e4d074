"""Proposals from a sample to the input of the network."""

import numpy as np
import pytest
import torch

from visionkit.data.batch import TargetDataset, to_target
from visionkit.data.datasets.shapes import Shapes
from visionkit.data.transforms.augmentation import Augmentation
from visionkit.errors import ConfigError
from visionkit.preprocessing.detection import DetectionPreprocessing, DetectionPreprocessOptions

BOXES = np.array([[0, 0, 10, 20], [5, 8, 40, 30], [2, 2, 3, 9], [0, 0, 64, 48]], np.float32)


def sample(proposals=BOXES):
    found = Shapes(split="train", count=5, size=[48, 64])[3]
    found.proposals = proposals
    return found


def augmented(*steps, proposals=BOXES):
    pipeline = Augmentation(list(steps))
    pipeline.seed(0)
    return pipeline(sample(proposals))


def test_a_flip_mirrors_the_edges_exactly():
    found = augmented({"name": "HorizontalFlip", "p": 1.0})
    expected = np.stack([64 - BOXES[:, 2], BOXES[:, 1], 64 - BOXES[:, 0], BOXES[:, 3]], axis=1)
    np.testing.assert_allclose(found.proposals, expected)
    assert found.proposals.dtype == np.float32


def test_a_crop_clips_proposals_and_drops_those_that_left():
    found = augmented({"name": "Crop", "x_min": 4, "y_min": 6, "x_max": 34, "y_max": 46, "p": 1.0})
    np.testing.assert_allclose(found.proposals, [[0, 0, 6, 14], [1, 2, 30, 24], [0, 0, 30, 40]])


def test_objects_and_proposals_move_alike():
    given = sample()
    found = augmented(
        {"name": "Transpose", "p": 1.0}, {"name": "VerticalFlip", "p": 1.0}, proposals=given.annotation.boxes
    )
    np.testing.assert_allclose(found.proposals, found.annotation.boxes, atol=1e-3)


def test_a_crop_around_objects_does_not_take_proposals_for_objects():
    step = {"name": "BBoxSafeRandomCrop", "erosion_rate": 0.0, "p": 1.0}
    with_proposals, without = augmented(step), augmented(step, proposals=None)
    np.testing.assert_array_equal(with_proposals.image, without.image)


CROWDED = np.array([[left, top, left + 9, top + 9] for left in range(20) for top in range(20)], np.float32)


TWICE = np.array([[10, 10, 40, 30]] * 2, np.float32)


@pytest.mark.parametrize("name", ["GridDistortion", "ElasticTransform", "ThinPlateSpline"])
@pytest.mark.parametrize("proposals", [CROWDED, TWICE], ids=["crowded", "twice"])
def test_a_warp_that_drops_corners_is_refused(name, proposals):
    """The corners of two equal boxes become four, which would make one box without an error."""
    steps = {"name": "HorizontalFlip", "p": 1.0}, {"name": name, "p": 1.0}
    with pytest.raises(ConfigError, match=rf"of {4 * len(proposals)} corners .* HorizontalFlip, {name}\n"):
        augmented(*steps, proposals=proposals)
    assert augmented(*steps, proposals=proposals[:0]).proposals.shape == (0, 4)


def test_a_image_without_proposals_keeps_none_of_them():
    assert augmented({"name": "HorizontalFlip", "p": 1.0}, proposals=BOXES[:0]).proposals.shape == (0, 4)
    assert augmented({"name": "HorizontalFlip", "p": 1.0}, proposals=None).proposals is None
    assert "proposals" not in to_target(sample(None))


def test_the_data_set_asks_for_proposals_before_augmenting():
    asked = []

    def source(image, image_id):
        asked.append((image.shape, image_id))
        return BOXES

    reader = Shapes(split="train", count=5, size=[48, 64])
    _, target = TargetDataset(reader, Augmentation([{"name": "HorizontalFlip", "p": 1.0}]), source)[3]
    assert asked == [((48, 64, 3), reader[3].image_id)]
    assert target["proposals"][0].tolist() == pytest.approx([54, 0, 64, 20])


def test_the_resize_carries_proposals_along():
    preprocessing = DetectionPreprocessOptions(short_side=96, long_side=200, mean=[0.5] * 3, std=[0.2] * 3).module()
    given = sample()
    images, geometries = preprocessing([torch.from_numpy(given.image).permute(2, 0, 1)])
    (target,) = DetectionPreprocessing.resize_targets([to_target(given)], geometries)
    assert images[0].shape == (3, 96, 128)
    torch.testing.assert_close(target["proposals"], torch.from_numpy(2 * BOXES))
