import numpy as np
import pytest
import torch
from pycocotools import mask as rle

from tests.helpers.samples import sample
from visionkit.data.batch import TargetDataset
from visionkit.data.datasets.shapes import Shapes
from visionkit.data.io.images import to_tensor
from visionkit.data.transforms.augmentation import Augmentation
from visionkit.data.transforms.commuting import COLORS
from visionkit.data.transforms.early_resize import resize_sample
from visionkit.data.transforms.resize import resize_image
from visionkit.errors import DataError
from visionkit.preprocessing.detection import DetectionPreprocessing
from visionkit.structures import Annotation, Sample

MEAN, STD = [0.5] * 3, [0.25] * 3
FLIP = {"name": "HorizontalFlip", "p": 1.0}
COLOR = {"name": "ColorJitter", "brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.05}
CROP = {"name": "RandomCrop", "height": 96, "width": 128}


def preprocessing(short_side=60):
    return DetectionPreprocessing(short_side, 400, MEAN, STD)


def shapes_sample(index=0):
    return Shapes(count=4, size=160)[index]


def augmented(steps, seed, input_size=None, given=None):
    augmentation = Augmentation(steps)
    augmentation.input_size = input_size
    augmentation.seed(seed)
    return augmentation(given or shapes_sample())


def late_and_early(steps, seed, given=None):
    """A sample that is resized after the augmentation, and one that is resized during it."""
    size = preprocessing().loader_size
    late = augmented(steps, seed, given=given)
    return resize_sample(late, size), augmented(steps, seed, size, given)


@pytest.mark.parametrize("seed", range(4))
def test_a_mirrored_image_is_the_same_before_and_after_resizing(seed):
    late, early = late_and_early([{"name": "HorizontalFlip", "p": 0.5}, {"name": "VerticalFlip", "p": 0.5}], seed)
    assert np.abs(late.image.astype(int) - early.image).max() <= 1
    np.testing.assert_allclose(early.annotation.boxes, late.annotation.boxes, atol=1e-3)


@pytest.mark.parametrize("name", [kind.__name__ for kind in COLORS])
def test_colors_are_nearly_the_same_before_and_after_resizing(name):
    arguments = {"statistics": "imagenet"} if name == "PcaColorShift" else {}
    for seed in range(5):
        late, early = late_and_early([{"name": name, "p": 1.0, **arguments}], seed)
        assert early.image.shape == late.image.shape
        assert np.abs(late.image.astype(int) - early.image).mean() < 2.5


def test_the_same_draws_give_the_same_crops_boxes_and_labels():
    for seed in range(10):
        late, early = late_and_early([CROP, FLIP], seed)
        np.testing.assert_allclose(early.annotation.boxes, late.annotation.boxes, atol=1e-3)
        np.testing.assert_array_equal(early.annotation.labels, late.annotation.labels)
        assert np.abs(late.image.astype(int) - early.image).max() <= 1


def test_images_have_the_same_distribution():
    """The means and deviations of many images agree to less than two standard errors of their difference."""
    steps = [CROP, {"name": "HorizontalFlip", "p": 0.5}, COLOR]
    pairs = [late_and_early(steps, seed, shapes_sample(seed % 4)) for seed in range(120)]
    for statistic in (np.mean, np.std):
        late, early = (np.array([statistic(one.image) for one in column]) for column in zip(*pairs, strict=True))
        error = np.sqrt((late.var() + early.var()) / len(pairs))
        assert abs(late.mean() - early.mean()) < 2 * error


def test_the_model_does_not_resize_a_second_time():
    given, module = shapes_sample(), preprocessing()
    augmentation = Augmentation([FLIP])
    augmentation.input_size = module.loader_size
    image, target = TargetDataset([given], augmentation)[0]
    assert target["size"] == (160, 160)
    [prepared], [geometry] = module([image])
    assert geometry.resized == tuple(image.shape[-2:]) == (60, 60)
    assert (geometry.scale_x, geometry.scale_y) == (1, 1)
    torch.testing.assert_close(prepared, module.normalize(image))


def test_without_transforms_the_input_is_bit_equal():
    given, module = shapes_sample(), preprocessing()
    augmentation = Augmentation([])
    augmentation.input_size = module.loader_size
    early, _ = TargetDataset([given], augmentation)[0]
    [late], _ = module([to_tensor(given.image)])
    [again], _ = module([early])
    assert torch.equal(late, again)


def test_masks_keep_their_size_and_are_mirrored():
    given = sample(5)
    result = augmented([FLIP, COLOR], 0, preprocessing(30).loader_size, given)
    assert result.size == (30, 40)
    np.testing.assert_array_equal(result.semantic, given.semantic[:, ::-1])
    for before, after in zip(given.annotation.masks, result.annotation.masks, strict=True):
        np.testing.assert_array_equal(rle.decode(after), rle.decode(before)[:, ::-1])


def test_proposals_are_resized_with_the_image():
    given = sample(2)
    given.proposals = np.array([[0, 0, 40, 20], [10, 10, 10.5, 30]], np.float32)
    result = augmented([FLIP], 0, preprocessing(30).loader_size, given)
    np.testing.assert_allclose(result.proposals, [[20, 0, 40, 10]], atol=1e-4)


def test_small_boxes_are_dropped_by_their_size_before_resizing():
    boxes = np.array([[0, 0, 0.9, 30], [0, 0, 1.2, 30]], np.float32)
    annotation = Annotation(boxes, np.array([0, 1]), *np.zeros((2, 2), bool), np.ones(2, np.float32))
    given = Sample(np.zeros((60, 80, 3), np.uint8), "a", "a.png", annotation)
    for size in (None, preprocessing(20).loader_size):
        assert augmented([FLIP], 0, size, given).annotation.labels.tolist() == [1]


def test_an_image_is_not_enlarged():
    given = sample(1)
    assert resize_sample(given, lambda height, width: (120, 160)) is given
    assert resize_sample(given, lambda height, width: None) is given


def test_a_narrow_image_is_refused():
    given = Sample(np.zeros((1, 200_000, 3), np.uint8), "a", "a.png")
    with pytest.raises(DataError, match="would be resized to"):
        resize_image(given.image, 800, 160_000_000)
