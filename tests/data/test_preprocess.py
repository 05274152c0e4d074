import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from visionkit.data.preprocess import Preprocessing


def preprocessing(short_side=64, long_side=100):
    return Preprocessing(short_side, long_side, mean=(0.5, 0.25, 0.0), std=(0.5, 0.5, 1.0))


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


@given(st.integers(1, 700), st.integers(1, 700), st.data())
def test_boxes_come_back_within_a_hundredth_of_a_pixel(height, width, data):
    geometry = preprocessing().geometry(height, width)
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
