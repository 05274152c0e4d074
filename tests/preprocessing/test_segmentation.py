import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import v2

from visionkit.data.transforms.resize import resize_image
from visionkit.errors import ConfigError
from visionkit.preprocessing.classification import ClassificationPreprocessOptions
from visionkit.preprocessing.detection import DetectionPreprocessOptions
from visionkit.preprocessing.segmentation import SegmentationPreprocessOptions

STATISTICS = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
SIZE = [64, 96]


def preprocessing(**options):
    return SegmentationPreprocessOptions(**STATISTICS, **options).module()


def image(height, width):
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8)


@settings(max_examples=30)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(2, 40), st.integers(2, 40))
def test_an_image_is_resized_to_a_fixed_size_as_a_whole(height, width, new_height, new_width):
    module, pixels = preprocessing(size=[new_height, new_width]), image(height, width)
    usual = v2.Compose(
        [v2.Resize((new_height, new_width)), v2.ToDtype(torch.float32, scale=True), v2.Normalize(*STATISTICS.values())]
    )
    prepared = module(pixels[None], module.scale(height, width))
    torch.testing.assert_close(prepared[0], usual(pixels), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(37, 53), (131, 97), (53, 211), (64, 96)])
@pytest.mark.parametrize("channels_last", [False, True], ids=["planes", "channels last"])
def test_all_tasks_give_the_same_input_of_a_fixed_size(height, width, channels_last):
    """Images of the loader have their channels last."""
    pixels = image(height, width)
    if channels_last:
        pixels = pixels.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    mask = torch.zeros(height, width, dtype=torch.uint8)
    modules = [
        options(size=SIZE, **STATISTICS).module()
        for options in (ClassificationPreprocessOptions, DetectionPreprocessOptions, SegmentationPreprocessOptions)
    ]
    for training in (False, True):
        classification, detection, segmentation = (module.train(training) for module in modules)
        expected = classification([pixels])[0]
        assert expected.shape == (3, *SIZE)
        assert torch.equal(detection([pixels])[0][0], expected)
        for prepared in (
            segmentation(torch.stack([pixels, pixels]), segmentation.scale(height, width))[1],
            segmentation.batch([pixels], [mask])[0][0],
        ):
            assert torch.equal(prepared, expected)


def test_an_image_that_the_loader_resized_gives_the_same_input():
    pixels, module = image(131, 197), preprocessing(size=SIZE)
    mask = torch.randint(0, 3, (131, 197), dtype=torch.uint8)
    loaded = resize_image(pixels.permute(1, 2, 0).numpy(), *module.loader_size(131, 197))
    early, early_classes = module.batch([torch.from_numpy(loaded).permute(2, 0, 1)], [mask])
    late, late_classes = module.batch([pixels], [mask])
    assert torch.equal(early, late)
    assert torch.equal(early_classes, late_classes)


def test_a_training_batch_has_the_fixed_size_whatever_augmentation_left():
    module = preprocessing(size=SIZE)
    images = [image(37, 53), image(64, 96), image(20, 20), image(1, 300)]
    masks = [torch.full(pixels.shape[-2:], label, dtype=torch.uint8) for label, pixels in enumerate(images)]
    prepared, classes = module.batch(images, masks)
    assert prepared.shape == (4, 3, *SIZE)
    for label, found in enumerate(classes):  # nothing is padded
        assert torch.equal(found, torch.full(SIZE, label))
    assert torch.equal(prepared[1], module.normalize(images[1]))


def test_halves_of_a_mask_stay_halves():
    mask = torch.zeros(10, 12, dtype=torch.uint8)
    mask[:, 6:] = 1
    mask[5:, :6] = 255
    _, (classes,) = preprocessing(size=[20, 6]).batch([image(10, 12)], [mask])
    expected = torch.zeros(20, 6, dtype=torch.int64)
    expected[:, 3:] = 1
    expected[10:, :3] = 255
    assert torch.equal(classes, expected)


@pytest.mark.parametrize("options", [{"short_side": 40}, {"long_side": 40}, {"scale": 0.3}])
def test_the_other_options_scale_both_axes_alike(options):
    vertical, horizontal = preprocessing(**options).scale(50, 80)
    assert vertical == horizontal == {"short_side": 40 / 50, "long_side": 40 / 80, "scale": 0.3}[next(iter(options))]
    assert preprocessing(**options).scale(50, 80, 1.5) == (vertical * 1.5, vertical * 1.5)


@pytest.mark.parametrize("factor", [0.5, 0.75, 1.0, 1.3])
def test_a_view_at_another_scale_has_the_size_of_a_detectors(factor):
    module, pixels = preprocessing(size=[75, 33]), image(41, 57)
    detection = DetectionPreprocessOptions(size=[75, 33], **STATISTICS).module()
    prepared = module(pixels[None], module.scale(41, 57, factor))[0]
    assert torch.equal(prepared, detection([pixels], factor=factor)[0][0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": [64]}, r"size=\[64\] must be height and width"),
        ({"size": [0, 9]}, "at least 1"),
        ({"size": SIZE, "short_side": 1}, r"size=\[64, 96\] excludes short_side=1"),
        ({"size": SIZE, "long_side": 9}, r"size=\[64, 96\] excludes .*long_side=9"),
        ({"size": SIZE, "scale": 0.5}, r"size=\[64, 96\] excludes .*scale=0.5"),
    ],
)
def test_a_fixed_size_that_is_none_or_contradicts_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        SegmentationPreprocessOptions(**options)
