"""Buffered layers of a dense block compared with a loop that concatenates all maps for every layer."""

import pytest
import torch
from torch import nn

from visionkit.ops.densenet_buffer import DenseLayer, DenseOptions, dense_layers

CHANNELS, GROWTH, LAYERS, EPS = 5, 3, 4, 1e-5


@pytest.fixture
def layers():
    torch.manual_seed(0)
    made = nn.ModuleList()
    for number in range(LAYERS):
        read = CHANNELS + number * GROWTH
        norm = nn.BatchNorm2d(read, eps=EPS)
        for values in (norm.weight, norm.bias, norm.running_mean):
            nn.init.normal_(values)
        nn.init.uniform_(norm.running_var, 0.5, 2)
        made.append(nn.Sequential(norm, nn.ReLU(), nn.Conv2d(read, GROWTH, 3, padding=1)))
    return made.double()


def plain(x, layers):
    for layer in layers:
        x = torch.cat([x, layer(x)], 1)
    return x


def values(layers):
    return [
        DenseLayer(
            norm.weight,
            norm.bias,
            conv.weight,
            conv.bias,
            None if norm.training else norm.running_mean,
            None if norm.training else norm.running_var,
        )
        for norm, _, conv in layers
    ]


def slopes(maps, x, layers):
    weights = torch.linspace(-1, 1, maps.numel(), dtype=torch.double).view(maps.shape)
    return torch.autograd.grad((maps * weights).sum(), [x, *layers.parameters()])


@pytest.mark.parametrize("by_batch", [True, False])
@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_maps_and_gradients_equal_the_plain_loop(layers, by_batch, keep, layout):
    layers.train(by_batch)
    x = torch.randn(2, CHANNELS, 6, 7).double().contiguous(memory_format=layout).requires_grad_()
    result = dense_layers(x, values(layers), DenseOptions(EPS, 0.0, keep))
    expected = plain(x, layers)
    torch.testing.assert_close(result.maps, expected)
    assert result.maps.is_contiguous(memory_format=layout)
    for ours, theirs in zip(slopes(result.maps, x, layers), slopes(expected, x, layers), strict=True):
        torch.testing.assert_close(ours, theirs)
    if by_batch:
        variance, mean = torch.var_mean(expected[:, :-GROWTH], (0, 2, 3), correction=0)
        torch.testing.assert_close(result.mean[:-GROWTH], mean)
        torch.testing.assert_close(result.variance[:-GROWTH], variance)


def test_dropped_values_are_zero_and_the_others_are_raised(layers):
    torch.manual_seed(1)
    x = torch.randn(4, CHANNELS, 12, 12).double()
    first = values(layers)[:1]
    whole, dropped = (dense_layers(x, first, DenseOptions(EPS, p, True)).maps[:, CHANNELS:] for p in (0.0, 0.2))
    kept = dropped != 0
    assert float(kept.double().mean()) == pytest.approx(0.8, abs=0.03)
    torch.testing.assert_close(dropped[kept], whole[kept] / 0.8)


@pytest.mark.parametrize("keep", [True, False])
def test_gradients_pass_dropout(layers, keep):
    x = torch.randn(2, CHANNELS, 4, 4).double().requires_grad_()

    def run(x):
        torch.manual_seed(3)
        return dense_layers(x, values(layers), DenseOptions(EPS, 0.3, keep)).maps

    assert torch.autograd.gradcheck(run, x)


def test_half_precision_follows_autocast(layers):
    layers.float()
    x = torch.randn(2, CHANNELS, 8, 8).requires_grad_()
    expected = plain(x, layers)
    with torch.autocast("cpu", torch.bfloat16):
        maps = dense_layers(x, values(layers), DenseOptions(EPS, 0.0, True)).maps
    assert maps.dtype == torch.bfloat16
    torch.testing.assert_close(maps.float(), expected, rtol=0.1, atol=0.1)
    maps.float().sum().backward()
    assert x.grad.dtype == torch.float32
    assert all(parameter.grad.dtype == torch.float32 for parameter in layers.parameters())
