import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from torchvision.ops import ps_roi_pool

from visionkit.ops.position_sensitive_pool import position_sensitive_pool


def c_round(value):
    """C's round, halves away from zero."""
    return math.copysign(math.floor(abs(value) + 0.5), value)


def cell_range(first, last, index, size, length, scale):
    """Positions of a cell along one axis: PSROIPoolingForward of the authors' caffe-rfcn, for boxes without the + 1."""
    start = np.float32(c_round(first)) * np.float32(scale)
    end = np.float32(c_round(last)) * np.float32(scale)
    side = np.float32(max(end - start, np.float32(0.1))) / np.float32(size)
    lower = math.floor(np.float32(index) * side + start)
    upper = math.ceil(np.float32(index + 1) * side + start)
    return range(min(max(lower, 0), length), min(max(upper, 0), length))


def slow_pool(maps, regions, size, scale):
    _, channels, height, width = maps.shape
    classes = channels // size**2
    rows = []
    for image, boxes in enumerate(regions):
        for x1, y1, x2, y2 in boxes.tolist():
            pooled = torch.zeros(classes, size, size, dtype=maps.dtype)
            for c in range(classes):
                for i in range(size):
                    for j in range(size):
                        ys = cell_range(y1, y2, i, size, height, scale)
                        xs = cell_range(x1, x2, j, size, width, scale)
                        if len(ys) and len(xs):
                            own = maps[image, (c * size + i) * size + j]
                            pooled[c, i, j] = own[ys.start : ys.stop, xs.start : xs.stop].mean()
            rows.append(pooled)
    return torch.stack(rows)


def random_regions(number, generator, sides=(200, 160)):
    corners = torch.rand(number, 2, 2, generator=generator) * torch.tensor(sides)
    return torch.cat([corners.amin(dim=1), corners.amax(dim=1)], dim=1)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 999), size=st.sampled_from([1, 3, 7]), scale=st.sampled_from([1 / 16, 1 / 8, 1 / 32]))
def test_equals_the_authors_layer(seed, size, scale):
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(2, 2 * size**2, 11, 13, generator=generator)
    regions = [random_regions(4, generator), random_regions(2, generator).round()]
    torch.testing.assert_close(
        position_sensitive_pool(maps, regions, size, scale), slow_pool(maps, regions, size, scale), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize(
    "region", [[-19, 60, 40, 200], [30, 30, 30, 30], [0.5, 1.5, 2.5, 3.5], [500, 500, 600, 600], [199, 159, 200, 160]]
)
def test_regions_at_the_edge_and_without_area(region):
    maps = torch.randn(1, 18, 10, 13, generator=torch.Generator().manual_seed(0))
    regions = [torch.tensor([region], dtype=torch.float32)]
    torch.testing.assert_close(
        position_sensitive_pool(maps, regions, 3, 1 / 16), slow_pool(maps, regions, 3, 1 / 16), atol=1e-6, rtol=1e-5
    )


def test_images_without_regions_give_no_rows():
    maps, none = torch.randn(2, 9, 4, 4), torch.zeros(0, 4)
    assert position_sensitive_pool(maps, [none, none], 3, 1 / 8).shape == (0, 1, 3, 3)
    assert position_sensitive_pool(maps, [none, torch.tensor([[0.0, 0, 8, 8]])], 3, 1 / 8).shape == (1, 1, 3, 3)


def test_gradients_equal_finite_differences():
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(1, 8, 5, 6, dtype=torch.float64, generator=generator, requires_grad=True)
    regions = [random_regions(3, generator, (48, 40))]
    assert torch.autograd.gradcheck(lambda values: position_sensitive_pool(values, regions, 2, 1 / 8), maps)


def test_torchvision_has_this_rule_only_for_regions_on_the_map():
    """Both agree on edges that are multiples of the stride; torchvision leaves out the last row and column."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(1, 49, 20, 20, generator=generator)
    padded = functional.pad(maps, (0, 1, 0, 1))
    regions = random_regions(50, generator, (320, 320))
    on_map = (regions / 16).round() * 16
    on_map[:, 2:] = torch.maximum(on_map[:, 2:], on_map[:, :2] + 16)
    ours, theirs = (position_sensitive_pool(maps, [on_map], 7, 1 / 16), ps_roi_pool(padded, [on_map], 7, 1 / 16))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    ours, theirs = (position_sensitive_pool(maps, [regions], 7, 1 / 16), ps_roi_pool(padded, [regions], 7, 1 / 16))
    assert (ours - theirs).abs().lt(1e-4).float().mean() < 0.5
