"""Upsampling layers compared with examples computed by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from visionkit.backbones.initialization import initialize
from visionkit.ops.upsampling import bed_of_nails, bilinear, max_unpooling, nearest_unpooling

SMALL = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])


def test_nearest_unpooling():
    expected = [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
    assert nearest_unpooling(SMALL)[0, 0].tolist() == expected
    assert nearest_unpooling(SMALL, 3).shape == (1, 1, 6, 6)


def test_bed_of_nails():
    expected = [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]]
    assert bed_of_nails(SMALL)[0, 0].tolist() == expected
    assert bed_of_nails(SMALL.expand(2, 3, 2, 2), 4)[1, 2, ::4, ::4].tolist() == SMALL[0, 0].tolist()


def test_max_unpooling():
    before = torch.tensor([[[[1.0, 2, 6, 3], [3, 5, 2, 1], [1, 2, 2, 1], [7, 3, 4, 8]]]])
    after, indices = functional.max_pool2d(before, 2, return_indices=True)
    assert after[0, 0].tolist() == [[5, 6], [7, 8]]
    expected = [[0, 0, 2, 0], [0, 1, 0, 0], [0, 0, 0, 0], [3, 0, 0, 4]]
    assert max_unpooling(SMALL, indices, (4, 4))[0, 0].tolist() == expected


def test_max_unpooling_leaves_zeros_where_the_pool_rounded_off():
    before = torch.arange(15.0).view(1, 1, 3, 5)
    after, indices = functional.max_pool2d(before, 2, return_indices=True)
    assert max_unpooling(after, indices, (3, 5))[0, 0].tolist() == [[0] * 5, [0, 6, 0, 8, 0], [0] * 5]


def test_bilinear():
    first_row = [1, 1.25, 1.75, 2]
    assert bilinear(SMALL)[0, 0].tolist() == [[value + below for value in first_row] for below in (0, 0.5, 1.5, 2)]


@pytest.mark.parametrize("factor", [2, 8])
def test_a_transposed_convolution_starts_bilinear(factor):
    layer = nn.ConvTranspose2d(2, 2, 2 * factor, stride=factor, padding=factor // 2, bias=False)
    initialize(layer, "bilinear")
    x = torch.randn(1, 2, 6, 7)
    inside = (..., slice(factor, -factor), slice(factor, -factor))
    torch.testing.assert_close(layer(x)[inside], bilinear(x, factor)[inside])
    if factor == 2:
        assert (layer.weight[0, 0] * 16).tolist() == [[1, 3, 3, 1], [3, 9, 9, 3], [3, 9, 9, 3], [1, 3, 3, 1]]


def test_gradients_come_back_to_where_values_went():
    x = SMALL.clone().requires_grad_()
    _, indices = functional.max_pool2d(torch.rand(1, 1, 4, 4), 2, return_indices=True)
    (nearest_unpooling(x) + bed_of_nails(x) + max_unpooling(x, indices, (4, 4)) + bilinear(x)).sum().backward()
    assert x.grad.flatten().tolist() == [4 + 1 + 1 + 4] * 4
