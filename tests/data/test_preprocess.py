import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from visionkit.data.preprocess import Preprocess, Preprocessing
from visionkit.errors import RecipeError


def preprocessing(short_side=64, long_side=100, **options):
    return Preprocessing(short_side, long_side, mean=(0.5, 0.25, 0.0), std=(0.5, 0.5, 1.0), **options)


def test_resize_and_normalise_happen_once():
    picture = torch.full((3, 32, 48), 255, dtype=torch.uint8)
    (prepared,), (geometry,) = preprocessing()([picture])
    assert prepared.shape == (3, 64, 96)
    torch.testing.assert_close(prepared.mean(dim=(1, 2)), torch.tensor([1.0, 1.5, 1.0]))
    assert geometry == (32, 48, 2.0, 2.0)


@pytest.mark.parametrize(
    ("size", "expected"), [((200, 100), (100, 50)), ((100, 100), (64, 64)), ((30, 300), (10, 100))]
)
def test_the_long_side_bounds_the_scale(size, expected):
    picture = torch.zeros(3, *size, dtype=torch.uint8)
    (prepared,), _ = preprocessing()([picture])
    assert prepared.shape[-2:] == expected


def test_a_float_picture_is_refused():
    with pytest.raises(TypeError, match="uint8"):
        preprocessing()([torch.rand(3, 10, 10) * 255])


@pytest.mark.parametrize("options", [{}, {"size": [300, 200]}], ids=["sides", "squash"])
@given(height=st.integers(1, 700), width=st.integers(1, 700), data=st.data())
def test_boxes_come_back_within_a_hundredth_of_a_pixel(options, height, width, data):
    geometry = preprocessing(**options).geometry(height, width)
    corner = data.draw(st.tuples(st.floats(0, width - 1), st.floats(0, height - 1)))
    boxes = torch.tensor([[*corner, width, height]], dtype=torch.float32)
    resized = Preprocessing.resize_targets([{"boxes": boxes, "image_id": 7}], [geometry])
    back = Preprocessing.restore(resized, [geometry])
    assert back[0]["image_id"] == 7
    torch.testing.assert_close(back[0]["boxes"], boxes, atol=0.01, rtol=0)


def test_restored_boxes_stay_in_the_picture():
    geometry = preprocessing().geometry(50, 80)
    wild = torch.tensor([[-30.0, -1.0, 4000.0, 4000.0]])
    (restored,) = Preprocessing.restore([{"boxes": wild}], [geometry])
    assert restored["boxes"].tolist() == [[0, 0, 80, 50]]


@pytest.mark.parametrize("shape", [(50, 80), (300, 300), (1, 7), (411, 299)])
def test_pictures_of_any_shape_are_squashed_to_one_size(shape):
    picture = torch.full((3, *shape), 255, dtype=torch.uint8)
    (prepared,), (geometry,) = preprocessing(size=[30, 40])([picture])
    assert prepared.shape == (3, 30, 40)
    whole = torch.tensor([[0.0, 0, shape[1], shape[0]]])
    (resized,) = Preprocessing.resize_targets([{"boxes": whole}], [geometry])
    torch.testing.assert_close(resized["boxes"], torch.tensor([[0.0, 0, 40, 30]]))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"size": [300]}, "height and width"), ({"size": [0, 300]}, "height and width"), ({"fit": "squish"}, "squash")],
)
def test_sizes_and_fits_that_cannot_be_are_refused(options, message):
    with pytest.raises(RecipeError, match=message):
        Preprocess(**options)
