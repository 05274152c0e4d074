import pytest
import torch

from visionkit.models.detection.parts.window_pyramid import Window, WindowPyramid

WINDOW = Window(side=20, stride=4, context=2)


@pytest.mark.parametrize("extent", [1, 15, 16, 17, 40, 41])
def test_windows_of_the_padded_extent_cover_it_without_rest(extent):
    padded = WINDOW.padded_extent(extent)
    assert (padded - WINDOW.side) % WINDOW.stride == 0
    last_edge = (WINDOW.count(padded) - 1) * WINDOW.stride + WINDOW.box
    assert extent <= max(last_edge, WINDOW.box) < extent + WINDOW.stride or extent < WINDOW.box


def test_levels_scale_objects_to_the_box_of_a_window():
    pyramid = WindowPyramid(WINDOW, sizes=(16.0, 32.0), ratios=(1.0,))
    full, half = pyramid.levels(torch.ones(1, 3, 64, 96))
    assert full[0, 0].sum() == pytest.approx(64 * 96)
    assert half[0, 0].sum() == pytest.approx(32 * 48)
    assert full[..., :2, :].abs().max() == 0  # context above the image
    assert pyramid.shapes().tolist() == [[16, 16], [32, 32]]


def test_windows_are_views_in_the_order_of_their_boxes():
    pyramid = WindowPyramid(WINDOW, sizes=(16.0,), ratios=(1.0,))
    (level,) = pyramid.levels(torch.randn(1, 3, 30, 26))
    windows = pyramid.windows(level)
    boxes, (count,) = pyramid.grid((30, 26), [level])
    rows, columns = windows.shape[2:4]
    assert count == rows * columns == len(boxes)
    assert windows.data_ptr() == level.data_ptr()
    assert boxes[columns + 1].tolist() == [4, 4, 20, 20]
    assert torch.equal(windows[0, :, 1, 1], level[0, :, 4:24, 4:24])


def test_ratios_distort_the_image():
    wide = WindowPyramid(WINDOW, sizes=(16.0,), ratios=(0.25,))
    (level,) = wide.levels(torch.ones(1, 3, 32, 32))
    assert level[0, 0].sum() == pytest.approx(64 * 16)
    assert wide.shapes().tolist() == [[32, 8]]
