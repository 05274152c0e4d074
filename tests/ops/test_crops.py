import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as transforms

from visionkit.errors import ConfigError
from visionkit.ops.crops import crop_kinds, crop_windows, extract_crops

COUNTS = {"center": 1, "ten_crop": 10, "grid": 50, "squares": 6, "googlenet": 36}


def image(height, width):
    return torch.arange(3 * height * width).reshape(3, height, width)


@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_ten_crops_are_torchvisions_in_its_order(height, width, data):
    crop = data.draw(st.integers(1, min(height, width)))
    given = image(height, width)
    views = extract_crops(given, crop_windows(height, width, crop, "ten_crop"), crop)
    assert torch.equal(views, torch.stack(transforms.ten_crop(given, [crop, crop])))
    center = extract_crops(given, crop_windows(height, width, crop, "center"), crop)
    assert torch.equal(center[0], transforms.center_crop(given, [crop, crop]))


@pytest.mark.parametrize("kind", crop_kinds)
@given(height=st.integers(1, 300), width=st.integers(1, 300), data=st.data())
def test_windows_are_squares_inside_the_image(kind, height, width, data):
    crop = data.draw(st.integers(1, min(height, width)))
    windows, flipped = crop_windows(height, width, crop, kind)
    assert windows.shape == (COUNTS[kind], 4)
    assert windows.dtype == torch.int64
    assert flipped.shape == (COUNTS[kind],)
    assert (windows >= 0).all()
    assert (windows <= torch.tensor([width, height, width, height])).all()
    sides = windows[:, 2:] - windows[:, :2]
    assert (sides[:, 0] == sides[:, 1]).all()
    assert set(sides.flatten().tolist()) <= {crop, min(height, width)}


@pytest.mark.parametrize("kind", sorted(COUNTS.keys() - {"center"}))
@given(height=st.integers(1, 60), width=st.integers(1, 60), data=st.data())
def test_a_mirrored_image_has_the_same_views_in_the_other_half(kind, height, width, data):
    crop = data.draw(st.integers(1, min(height, width)))
    views, given = crop_windows(height, width, crop, kind), image(height, width).float()
    plain, flipped = extract_crops(given, views, crop).chunk(2)
    assert torch.equal(extract_crops(given.flip(-1), views, crop), torch.cat([flipped, plain]))


def test_the_grid_reaches_all_borders_in_even_steps():
    windows = crop_windows(256, 340, 224, "grid").windows[:25]
    assert sorted({int(top) for top in windows[:, 1]}) == [0, 8, 16, 24, 32]
    assert sorted({int(left) for left in windows[:, 0]}) == [0, 29, 58, 87, 116]


def test_googlenets_crops_lie_in_its_three_squares():
    squares = crop_windows(256, 341, 224, "squares").windows[:3]
    assert squares.tolist() == [[0, 0, 256, 256], [42, 0, 298, 256], [85, 0, 341, 256]]
    windows = crop_windows(256, 341, 224, "googlenet").windows[:18]
    assert torch.equal(windows.view(3, 6, 4)[:, 5], squares)
    assert windows.view(3, 6, 4)[2, 0].tolist() == [85, 0, 309, 224]
    assert len(windows.unique(dim=0)) == 18


def test_larger_windows_are_resized_and_keep_their_type():
    views = crop_windows(8, 12, 4, "squares")
    given = torch.full((3, 8, 12), 77, dtype=torch.uint8)
    assert torch.equal(extract_crops(given, views, 4), torch.full((6, 3, 4, 4), 77, dtype=torch.uint8))


@pytest.mark.parametrize("crop", [0, 9])
def test_crops_that_do_not_fit_are_refused(crop):
    with pytest.raises(ValueError, match="resize it first"):
        crop_windows(8, 12, crop, "ten_crop")


def test_unknown_kinds_are_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean center"):
        crop_windows(8, 8, 4, "centr")


@pytest.mark.parametrize("kind", crop_kinds)
def test_mirrored_views_may_be_left_out_or_asked_for(kind):
    with_flips, without = (crop_windows(40, 60, 32, kind, flip) for flip in (True, False))
    assert with_flips.flipped.sum() == len(without.windows)
    assert not without.flipped.any()
    assert torch.equal(with_flips.windows[: len(without.windows)], without.windows)
