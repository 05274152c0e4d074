import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from visionkit.errors import ConfigError
from visionkit.preprocessing.detection import DetectionPreprocessing, DetectionPreprocessOptions, TrainingScale
from visionkit.preprocessing.geometry import letterbox


def preprocessing(short_side=64, long_side=100, **options):
    return DetectionPreprocessing(short_side, long_side, mean=(0.5, 0.25, 0.0), std=(0.5, 0.5, 1.0), **options)


def test_images_are_resized_and_normalized_once():
    image = torch.full((3, 32, 48), 255, dtype=torch.uint8)
    (prepared,), (geometry,) = preprocessing()([image])
    assert prepared.shape == (3, 64, 96)
    torch.testing.assert_close(prepared.mean(dim=(1, 2)), torch.tensor([1.0, 1.5, 1.0]))
    assert geometry == (32, 48, 2.0, 2.0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("size", "expected"), [((200, 100), (100, 50)), ((100, 100), (64, 64)), ((30, 300), (10, 100))]
)
def test_the_long_side_bounds_the_scale(size, expected):
    image = torch.zeros(3, *size, dtype=torch.uint8)
    (prepared,), _ = preprocessing()([image])
    assert prepared.shape[-2:] == expected


def test_images_have_the_dtype_of_the_module():
    module = preprocessing().to(torch.bfloat16)
    ((prepared,), _) = module([torch.zeros(3, 30, 40, dtype=torch.uint8)])
    assert prepared.dtype == torch.bfloat16


def test_a_float_image_is_refused():
    with pytest.raises(TypeError, match="uint8"):
        preprocessing()([torch.rand(3, 10, 10) * 255])


FITS = {"sides": {}, "squash": {"size": [300, 200]}, "letterbox": {"size": [300, 200], "fit": "letterbox"}}


@pytest.mark.parametrize("options", FITS.values(), ids=FITS)
@given(height=st.integers(1, 700), width=st.integers(1, 700), data=st.data())
def test_boxes_come_back_within_a_hundredth_of_a_pixel(options, height, width, data):
    geometry = preprocessing(**options).geometry(height, width)
    corner = data.draw(st.tuples(st.floats(0, width - 1), st.floats(0, height - 1)))
    boxes = torch.tensor([[*corner, width, height]], dtype=torch.float32)
    resized = DetectionPreprocessing.resize_targets([{"boxes": boxes}], [geometry])
    back = DetectionPreprocessing.restore(resized, [geometry])
    torch.testing.assert_close(back[0]["boxes"], boxes, atol=0.01, rtol=0)


@pytest.mark.parametrize(
    ("options", "expected"), list(zip(FITS.values(), [(95, 150), (450, 300), (450, 300)], strict=True)), ids=FITS
)
def test_a_factor_changes_the_size_alone(options, expected):
    prepare = preprocessing(**options)
    image = torch.zeros(3, 40, 63, dtype=torch.uint8)
    (prepared,), (geometry,) = prepare([image], factor=1.5)
    assert geometry.input_size == prepared.shape[-2:] == expected
    assert prepare.geometry(40, 63, factor=1.0) == prepare.geometry(40, 63)
    assert min(prepare.geometry(40, 63, factor=1e-4).input_size) == 1


def test_restored_boxes_stay_in_the_image():
    geometry = preprocessing().geometry(50, 80)
    wild = torch.tensor([[-30.0, -1.0, 4000.0, 4000.0]])
    (restored,) = DetectionPreprocessing.restore([{"boxes": wild}], [geometry])
    assert restored["boxes"].tolist() == [[0, 0, 80, 50]]


def test_boxes_in_the_padding_of_a_letterbox_are_removed():
    """An image of 100 x 400 in 320 x 320: its own part is from 120 to 200 pixels."""
    geometry = preprocessing(size=[320, 320], fit="letterbox").geometry(100, 400)
    boxes = torch.tensor([[10.0, 20, 90, 119], [10, 20, 90, 140], [0, 201, 320, 320], [5, 130, 30, 150]])
    found = {"boxes": boxes, "scores": torch.tensor([0.9, 0.8, 0.7, 0.6]), "labels": torch.tensor([0, 1, 2, 3])}
    (restored,) = DetectionPreprocessing.restore([found], [geometry])
    assert restored["labels"].tolist() == [1, 3]
    assert restored["scores"].tolist() == pytest.approx([0.8, 0.6])
    assert restored["boxes"][0].tolist() == [12.5, 0, 112.5, 25]


@pytest.mark.parametrize("shape", [(50, 80), (300, 300), (1, 7), (411, 299)])
def test_images_of_any_shape_are_squashed_to_one_size(shape):
    image = torch.full((3, *shape), 255, dtype=torch.uint8)
    (prepared,), (geometry,) = preprocessing(size=[30, 40])([image])
    assert prepared.shape == (3, 30, 40)
    whole = torch.tensor([[0.0, 0, shape[1], shape[0]]])
    (resized,) = DetectionPreprocessing.resize_targets([{"boxes": whole}], [geometry])
    torch.testing.assert_close(resized["boxes"], torch.tensor([[0.0, 0, 40, 30]]))


@given(height=st.integers(1, 700), width=st.integers(1, 700), side=st.integers(10, 20).map(lambda cells: 32 * cells))
def test_a_letterbox_keeps_the_aspect_ratio_and_pads_both_sides(height, width, side):
    geometry = letterbox(height, width, side, side)
    assert geometry.input_size == (side, side)
    assert max(geometry.resized) == side
    assert abs(geometry.left - geometry.right) <= 1
    assert abs(geometry.top - geometry.bottom) <= 1
    assert geometry.left == 0 or geometry.top == 0
    # the other side is off by the rounding to whole pixels at most, or one pixel wide
    exact = side / max(height, width) * min(height, width)
    assert abs(min(geometry.resized) - exact) <= 0.5 or min(geometry.resized) == 1


def test_boxes_are_mapped_to_where_the_letterboxed_image_is():
    image = torch.full((3, 20, 40), 255, dtype=torch.uint8)
    (prepared,), (geometry,) = preprocessing(size=[64, 64], fit="letterbox")([image])
    assert prepared.shape == (3, 64, 64)
    assert geometry == (20, 40, 1.6, 1.6, 0, 16, 0, 16)
    rows = prepared.abs().sum(dim=(0, 2))
    assert torch.where(rows > 0)[0][[0, -1]].tolist() == [16, 47]
    whole = torch.tensor([[0.0, 0.0, 40.0, 20.0]])
    torch.testing.assert_close(geometry.to_input(whole), torch.tensor([[0.0, 16.0, 64.0, 48.0]]))


def test_an_exact_box_in_a_letterboxed_image_comes_back_within_half_a_pixel():
    """Boxes agree with the pixels of the network's input (an edge of a bright block), not only with the geometry."""
    image = torch.zeros(3, 123, 211, dtype=torch.uint8)
    image[:, 30:81, 50:161] = 255
    (prepared,), (geometry,) = DetectionPreprocessing(1, 1, (0.5,) * 3, (0.5,) * 3, [160, 160], "letterbox")([image])
    bright = prepared[0] > 0
    rows, columns = torch.where(bright.any(dim=1))[0], torch.where(bright.any(dim=0))[0]
    seen = torch.tensor([[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]], dtype=torch.float32)
    # the block's edges fall inside a pixel of the input, which is 1.32 of the image's
    torch.testing.assert_close(geometry.to_original(seen), torch.tensor([[50.0, 30, 161, 81]]), atol=0.67, rtol=0)


def scaled(**options):
    return preprocessing(size=[416, 416], fit="letterbox", multi_scale=[320, 608], **options)


def test_training_sizes_change_every_ten_steps_and_depend_on_the_seed_alone():
    scales = [scaled().training_scale(step, 3) for step in range(3000)]
    assert scales == [scaled().training_scale(step, 3) for step in range(3000)]
    sizes = [scale.size for scale in scales]
    assert all(sizes[step] == sizes[step - step % 10] for step in range(3000))
    assert {height for height, _ in sizes} == set(range(320, 609, 32))
    assert all(height == width for height, width in sizes)
    assert scales != [scaled().training_scale(step, 4) for step in range(3000)]
    assert preprocessing().training_scale(0, 3) == TrainingScale(None, 1.0)


def test_the_short_side_is_drawn_without_a_fixed_size():
    module = preprocessing(320, 640, multi_scale=[256, 384], multi_scale_every=1)
    image = torch.zeros(3, 60, 100, dtype=torch.uint8)
    seen = {tuple(module([image], *module.training_scale(step, 0))[0][0].shape[-2:]) for step in range(100)}
    assert seen == {(256, 427), (288, 480), (320, 533), (352, 587), (384, 640)}
    wide = torch.zeros(3, 60, 240, dtype=torch.uint8)
    widths = {module([wide], *module.training_scale(step, 0))[0][0].shape[-1] for step in range(100)}
    assert widths == {512, 576, 640, 704, 768}, "the long side is bounded in proportion"
    assert module([image])[0][0].shape[-2:] == (320, 533)


def test_a_training_size_is_that_of_this_call_alone():
    image, module = torch.zeros(3, 30, 40, dtype=torch.uint8), scaled()
    (prepared,), (geometry,) = module([image], *module.training_scale(0, 3))
    assert list(prepared.shape[-2:]) == list(geometry.input_size) == module.training_scale(0, 3).size
    (prepared,), _ = module([image])
    assert prepared.shape[-2:] == (416, 416)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": [300]}, "height and width"),
        ({"size": [0, 300]}, "size=.* must be at least 1"),
        ({"fit": "squish"}, "squash"),
        ({"multi_scale": [320]}, "smallest"),
        ({"fit": "letterbox"}, "preprocess.size"),
        ({"size": [416, 416], "multi_scale": [608, 320]}, "smallest"),
    ],
)
def test_sizes_and_fits_that_cannot_be_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        DetectionPreprocessOptions(**options)


IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def torchvisions_input(image, short_side, long_side, **options):
    """The unpadded input that torchvision's detectors compute from a uint8 image."""
    transform = GeneralizedRCNNTransform(
        short_side, long_side, IMAGENET["mean"], IMAGENET["std"], size_divisible=1, **options
    ).eval()
    images, _ = transform([image / 255])
    return images.tensors[0]


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 90), st.integers(2, 90), st.sampled_from([(80, 133), (75, 100), (33, 57)]))
def test_torchvisions_rule_is_bit_equal(height, width, sides):
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
    (prepared,), _ = DetectionPreprocessing(*sides, **IMAGENET, resize="torchvision")([image])
    expected = torchvisions_input(image, *sides)
    assert prepared.shape == expected.shape
    assert torch.equal(prepared, expected)


def test_torchvisions_rule_keeps_one_pixel_where_torchvision_fails():
    image = torch.zeros(3, 1, 58, dtype=torch.uint8)
    (prepared,), _ = DetectionPreprocessing(33, 57, **IMAGENET, resize="torchvision")([image])
    assert prepared.shape == (3, 1, 57)


@pytest.mark.parametrize("size", [(480, 640), (427, 640), (500, 375), (333, 500), (1080, 1920)])
def test_torchvisions_rule_on_usual_photos(size):
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    (prepared,), _ = DetectionPreprocessing(800, 1333, **IMAGENET, resize="torchvision")([image])
    assert torch.equal(prepared, torchvisions_input(image, 800, 1333))


def test_torchvisions_rule_for_a_fixed_size():
    image = torch.randint(0, 256, (3, 90, 70), dtype=torch.uint8)
    (prepared,), _ = DetectionPreprocessing(800, 1333, **IMAGENET, size=[30, 40], resize="torchvision")([image])
    assert torch.equal(prepared, torchvisions_input(image, 800, 1333, fixed_size=(40, 30)))


def test_an_unknown_resize_rule_points_to_the_nearest():
    with pytest.raises(ConfigError, match="did you mean torchvision"):
        DetectionPreprocessOptions(resize="torchvison")
