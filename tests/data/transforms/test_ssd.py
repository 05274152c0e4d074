import colorsys

import numpy as np
import pytest

from visionkit.data.transforms.augmentation import Augmentation
from visionkit.data.transforms.ssd import PhotometricDistort
from visionkit.errors import ConfigError
from visionkit.structures import Annotation, Sample


def sample(height=60, width=80):
    """Two objects of different gray on a black image: the values in a box identify the object."""
    image = np.zeros((height, width, 3), np.uint8)
    boxes = np.array([[5, 10, 25, 50], [40, 5, 75, 30]], np.float32)
    for box, gray in zip(boxes.astype(int), (100, 200), strict=True):
        image[box[1] : box[3], box[0] : box[2]] = gray
    flags = np.zeros(2, bool)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    annotation = Annotation(boxes, np.array([0, 1]), flags, flags.copy(), area, None)
    return Sample(image=image, annotation=annotation, image_id=1, file_name="drawn")


def augmented(step, seed, **arguments):
    augmentation = Augmentation([{"name": step, **arguments}])
    augmentation.seed(seed)
    return augmentation(sample())


@pytest.mark.parametrize("step", ["ZoomOut", "IouCrop"])
@pytest.mark.parametrize("seed", range(12))
def test_boxes_and_labels_stay_with_their_objects(step, seed):
    found = augmented(step, seed, p=1.0)
    notes = found.annotation
    assert len(notes.boxes) == len(notes.labels) == len(notes.crowd) == len(notes.area)
    for box, label in zip(notes.boxes.round().astype(int), notes.labels, strict=True):
        inner = found.image[box[1] : box[3], box[0] : box[2]]
        assert (inner == (100, 200)[label]).mean() > 0.9


def test_zooming_out_keeps_every_pixel_and_every_object():
    sizes = []
    for seed in range(30):
        found = augmented("ZoomOut", seed, p=1.0, max_scale=3.0, fill=[9, 9, 9])
        sizes.append(found.image.shape[0] / 60)
        assert len(found.annotation.labels) == 2
        assert (found.image == 200).all(axis=2).sum() == 35 * 25
        assert (found.image != 9).all(axis=2).sum() == 60 * 80
    assert 1 <= min(sizes) < 1.4
    assert 2.6 < max(sizes) <= 3


def test_crops_reach_the_overlap_and_hold_an_object():
    shapes = set()
    for seed in range(40):
        found = augmented("IouCrop", seed, p=1.0, min_ious=[0.3])
        height, width = found.image.shape[:2]
        shapes.add((height, width))
        assert len(found.annotation.labels) >= 1
        if (height, width) != (60, 80):
            areas = [20 * 40, 35 * 25]
            best = max(
                area / (height * width + areas[label] - area)
                for label, area in zip(found.annotation.labels, found.annotation.area, strict=True)
            )
            assert best >= 0.27  # a rounded pixel less
    assert len(shapes) > 10


def test_objects_stay_with_their_center_and_crowds_with_any_part():
    """A crop of the left 40 % of the image: 8 of 35 pixels of the second object are in it, not its center."""
    augmentation = Augmentation([{"name": "IouCrop"}])
    left = {"crop_coords": (0, 0, 48, 60)}
    augmentation._transforms[0].get_params_dependent_on_data = lambda params, data: left
    given = sample()
    assert augmentation(given).annotation.labels.tolist() == [0]
    given.annotation.crowd[1] = True
    found = augmentation(given).annotation
    assert found.crowd.tolist() == [False, True]
    assert found.boxes[1].tolist() == [40, 5, 48, 30]


def test_a_image_without_objects_passes():
    empty = sample()
    nothing = Annotation(
        np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool), np.zeros(0, bool), np.zeros(0), None
    )
    for step in ("ZoomOut", "IouCrop"):
        augmentation = Augmentation([{"name": step, "p": 1.0}])
        augmentation.seed(0)
        found = augmentation(Sample(image=empty.image, annotation=nothing, image_id=1, file_name="drawn"))
        assert found.annotation.boxes.shape == (0, 4)


@pytest.mark.parametrize("step", [{"name": "ZoomOut", "max_scale": 0.5}, {"name": "IouCrop", "min_side": 2.0}])
def test_wrong_arguments_are_refused(step):
    with pytest.raises(ConfigError, match=step["name"]):
        Augmentation([step])


COLORS = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
NEUTRAL = {"brightness": 0.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0, "contrast_first": True}


def distorted(**changes):
    return PhotometricDistort().apply(COLORS, **{**NEUTRAL, **changes}).astype(int)


def test_brightness_is_added_and_contrast_is_a_factor():
    assert (distorted() == COLORS).all()
    assert (distorted(brightness=-20.0) == (COLORS.astype(int) - 20).clip(0)).all()
    assert (distorted(contrast=1.5) == (COLORS * 1.5).round().clip(0, 255)).all()


def test_saturation_and_hue_change_hsv():
    before, after = (
        np.array([colorsys.rgb_to_hsv(*c) for c in rgb.reshape(-1, 3) / 255])
        for rgb in (COLORS, distorted(saturation=0.5, hue=30.0))
    )
    np.testing.assert_allclose(after[:, 1], before[:, 1] / 2, atol=0.03)
    np.testing.assert_allclose(after[:, 2], before[:, 2], atol=0.01)
    saturated = before[:, 1] > 0.5
    turn = (after[:, 0] - before[:, 0])[saturated] % 1
    np.testing.assert_allclose(turn, 30 / 360, atol=0.02)


def test_contrast_comes_before_or_after_saturation_and_hue():
    first, last = (distorted(contrast=1.5, saturation=0.5, contrast_first=order) for order in (True, False))
    assert (first != last).any()


def test_each_change_has_its_own_probability():
    transform = PhotometricDistort()
    transform.set_random_seed(0)
    drawn = [transform.get_params() for _ in range(400)]
    made = {name: np.array([params[name] != neutral for params in drawn]) for name, neutral in NEUTRAL.items()}
    assert all(0.4 < each.mean() < 0.6 for each in made.values())
    assert all(0.15 < (made["brightness"] & made[name]).mean() < 0.35 for name in ("contrast", "saturation", "hue"))
    assert all(abs(params["brightness"]) <= 32 and abs(params["hue"]) <= 36 for params in drawn)
