import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from pycocotools import mask as rle

from tests.helpers.samples import sample
from visionkit.backbones import create_backbone
from visionkit.data.transforms.augmentation import Augmentation
from visionkit.errors import ConfigError
from visionkit.preprocessing.normalize import Normalize
from visionkit.structures import Annotation, Sample

CROP = [{"name": "RandomCrop", "height": 40, "width": 40}]


@pytest.mark.parametrize("objects", [0, 1, 12])
@pytest.mark.parametrize("seed", range(5))
def test_everything_keeps_equal_length_and_type(objects, seed):
    augmentation = Augmentation(CROP)
    augmentation.seed(seed)
    result = augmentation(sample(objects, seed))
    given = result.annotation
    assert given.boxes.shape == (len(given), 4)
    assert given.boxes.dtype == np.float32
    assert given.labels.dtype == np.int64
    assert len(given.labels) == len(given.crowd) == len(given.difficult) == len(given.area) == len(given.masks)
    assert result.image.shape == (40, 40, 3)
    assert result.semantic.shape == (40, 40)


def test_a_flip_moves_image_boxes_masks_and_flags_together():
    given = sample(6)
    result = Augmentation([{"name": "HorizontalFlip", "p": 1.0}])(given)
    np.testing.assert_array_equal(result.image, given.image[:, ::-1])
    np.testing.assert_allclose(result.annotation.boxes[:, 0], 80 - given.annotation.boxes[:, 2], atol=1e-4)
    np.testing.assert_array_equal(result.semantic, given.semantic[:, ::-1])
    for before, after in zip(given.annotation.masks, result.annotation.masks, strict=True):
        np.testing.assert_array_equal(rle.decode(after), rle.decode(before)[:, ::-1])
    np.testing.assert_array_equal(result.annotation.difficult, given.annotation.difficult)


def test_slivers_do_not_survive_a_crop():
    given = sample(0)
    given.annotation = Annotation(
        np.array([[39, 0, 79, 40], [0, 0, 30, 30]], np.float32),
        np.array([0, 1]),
        *np.zeros((2, 2), bool),
        np.array([1600, 900], np.float32),
    )
    given.semantic = None
    result = Augmentation([{"name": "Crop", "x_min": 0, "y_min": 0, "x_max": 40, "y_max": 40}])(given)
    assert result.annotation.labels.tolist() == [1]


def test_the_same_seed_repeats_and_another_differs():
    def crop(seed):
        augmentation = Augmentation(CROP)
        augmentation.seed(seed)
        return augmentation(sample(3)).image

    np.testing.assert_array_equal(crop(1), crop(1))
    assert not np.array_equal(crop(1), crop(2))


def test_steps_draw_independently_of_each_other():
    """With albumentations' own seeding every step gets the same random numbers: two flips always coincide."""
    augmentation = Augmentation([{"name": "HorizontalFlip", "p": 0.5}, {"name": "VerticalFlip", "p": 0.5}])
    augmentation.seed(0)
    given = sample(2)
    seen = Counter(augmentation(given).image[0, 0].tobytes() for _ in range(200))
    assert len(seen) == 4
    assert min(seen.values()) > 25


UNCOVERING = [
    {"name": "Rotate", "limit": [30, 60]},
    {"name": "SafeRotate", "limit": [30, 60]},
    {"name": "PadIfNeeded", "min_height": 90, "min_width": 100},
    {"name": "Pad", "padding": 7},
    {"name": "RandomCrop", "height": 70, "width": 50, "pad_if_needed": True},
    {"name": "CenterCrop", "height": 50, "width": 90, "pad_if_needed": True},
    {"name": "CropAndPad", "px": [5, 9], "keep_size": False},
    {"name": "ElasticTransform", "alpha": 200, "sigma": 9},
    {"name": "GridDistortion", "distort_limit": [0.5, 0.5], "normalized": False},
    {"name": "OpticalDistortion", "distort_limit": [0.4, 0.5]},
    {"name": "ThinPlateSpline", "scale_range": [0.2, 0.3]},
    {"name": "ShiftScaleRotate", "shift_limit": [0.1, 0.2], "rotate_limit": [10, 45]},
    {"name": "Affine", "scale": [0.5, 0.7], "shear": [10, 20]},
    {"name": "Perspective", "scale": [0.1, 0.2], "fit_output": True},
]
RESIZING = [
    {"name": "Resize", "height": 19, "width": 31},
    {"name": "Resize", "height": 120, "width": 200},
    {"name": "RandomResizedCrop", "size": [15, 20], "scale": [0.8, 1.0]},
    {"name": "RandomSizedCrop", "min_max_height": [40, 60], "size": [21, 17]},
    {"name": "ScaleJitter", "min_side": 16, "max_side": 20},
    {"name": "LongestMaxSize", "max_size": 21},
    {"name": "RandomScale", "scale_limit": [-0.7, -0.6]},
]
TILE = 5
"""Pixels; the mask of `coded` has tiles of this side."""


def coded(objects: int) -> Sample:
    """A 60 x 80 image whose values are the pixel coordinates, with a mask of tiles of seven classes and `objects`."""
    given = sample(objects)
    rows, columns = np.mgrid[:60, :80]
    image = np.stack([3 * columns, 3 * rows, np.full((60, 80), 250)], axis=2).astype(np.uint8)
    return dataclasses.replace(given, image=image, semantic=tile_class(columns, rows))


def tile_class(columns, rows):
    return ((columns // TILE + 3 * (rows // TILE)) % 7).astype(np.uint8)


def near(image, mask, reach):
    """Return where the coordinates determine the class, and whether the mask has a class from within `reach`."""
    x, y = (image[..., channel].astype(float) / 3 for channel in (0, 1))
    shifts = np.linspace(-reach, reach, 5)
    places = [(np.clip(np.rint(x + dx), 0, 79), np.clip(np.rint(y + dy), 0, 59)) for dx in shifts for dy in shifts]
    return np.any([mask == tile_class(columns.astype(int), rows.astype(int)) for columns, rows in places], axis=0)


@pytest.mark.parametrize("objects", [0, 6])
@pytest.mark.parametrize("step", UNCOVERING, ids=lambda step: step["name"])
def test_what_is_uncovered_is_of_no_class_and_of_no_object(step, objects):
    augmentation = Augmentation([{**step, "p": 1.0}], min_visibility=0)
    for seed in range(4):
        augmentation.seed(seed)
        result = augmentation(coded(objects))
        assert set(np.unique(result.semantic)) == {*range(7), 255}, "no class but those there were"
        outside, inside = (result.image[..., 2] == value for value in (0, 250))
        assert outside.any()
        assert (result.semantic[outside] == 255)[1:-1].mean() > 0.99
        assert near(result.image, result.semantic, 0.8)[inside].mean() > 0.999
        for mask in map(rle.decode, result.annotation.masks):
            assert not (mask.astype(bool) & (result.semantic == 255)).any()
            assert set(np.unique(mask)) <= {0, 1}


@pytest.mark.parametrize("step", RESIZING, ids=lambda step: step["name"])
def test_masks_stay_under_their_images_when_both_are_resized(step):
    """OpenCV's plain nearest neighbor is off by two pixels when four become one."""
    augmentation = Augmentation([{**step, "p": 1.0}])
    augmentation.seed(0)
    result = augmentation(coded(0))
    assert result.semantic.shape == result.size
    assert set(np.unique(result.semantic)) <= set(range(7))
    assert near(result.image, result.semantic, 0.6).mean() > 0.98


def test_a_recipe_may_fill_masks_as_it_likes_and_dropping_parts_of_the_image_leaves_them_alone():
    given = coded(0)
    padded = Augmentation([{"name": "Pad", "padding": 3, "fill_mask": 2, "p": 1.0}])(given)
    assert (padded.semantic[:3] == 2).all()
    dropped = Augmentation([{"name": "CoarseDropout", "p": 1.0}])(given)
    assert not np.array_equal(dropped.image, given.image)
    np.testing.assert_array_equal(dropped.semantic, given.semantic)


def test_a_image_without_objects_passes_as_one_with_objects():
    results = []
    for given in (sample(4), dataclasses.replace(sample(4), annotation=Annotation(), semantic=None)):
        augmentation = Augmentation(CROP)
        augmentation.seed(5)
        results.append(augmentation(given).image)
    np.testing.assert_array_equal(*results)


def test_the_steps_that_the_documentation_shows_are_understood():
    lines = Path("docs/recipes.md").read_text().split("## Augmentation")[1].split("## ")[0].splitlines()
    shown = yaml.safe_load("\n".join(line for line in lines if line.startswith("    - {name")))
    assert len(shown) == 6
    for step in shown:
        Augmentation([step])


def test_cifars_padding_is_zero_after_normalizing():
    """He 2015, section 4.2, pads with zeros after mean subtraction, which is the mean color in the image."""
    recipe = yaml.safe_load(Path("recipes/_base/cifar.yaml").read_text())
    pad = recipe["data"]["augment"][0]
    assert pad["name"] == "PadIfNeeded"
    given = dataclasses.replace(sample(0), image=np.zeros((32, 32, 3), np.uint8), semantic=None)
    padded = Augmentation([pad])(given).image
    assert padded.shape == (40, 40, 3)
    assert (padded[4:36, 4:36] == 0).all()
    backbone = create_backbone("cifar_resnet20", weights="none")
    border = Normalize(backbone.mean, [1.0, 1.0, 1.0])(torch.from_numpy(padded[:4]).permute(2, 0, 1))
    assert border.abs().max() <= 0.5 / 255, "nearer to zero than one gray level"


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"name": "HorizontalFlop"}, "did you mean HorizontalFlip"),
        ({"name": "HorizontalFlip", "probability": 1}, "no argument 'probability'"),
        ({"name": "RandomCrop", "height": "tall", "width": 3}, "does not accept the arguments .*height"),
    ],
)
def test_mistakes_in_the_recipe_are_named(step, message):
    with pytest.raises(ConfigError, match=message):
        Augmentation([step])
