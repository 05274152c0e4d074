"""Named initializations have the standard deviation that their papers derive."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from visionkit.backbones.initialization import initializations, initialize
from visionkit.errors import ConfigError

DEVIATIONS = {
    "fan_in": lambda fan_in, fan_out: fan_in**-0.5,
    "fan_in_uniform": lambda fan_in, fan_out: (3 * fan_in) ** -0.5,
    "glorot": lambda fan_in, fan_out: (2 / (fan_in + fan_out)) ** 0.5,
    "glorot_normal": lambda fan_in, fan_out: (2 / (fan_in + fan_out)) ** 0.5,
    "he": lambda fan_in, fan_out: (2 / fan_in) ** 0.5,
    "he_uniform": lambda fan_in, fan_out: (2 / fan_in) ** 0.5,
}
UNIFORM = ("fan_in_uniform", "glorot", "he_uniform")


def test_each_name_but_bilinear_is_measured_here():
    assert set(DEVIATIONS) | {"bilinear"} == set(initializations)


@pytest.mark.parametrize("name", DEVIATIONS)
@pytest.mark.parametrize(
    ("layer", "fans"),
    [
        (nn.Linear(200, 300), (200, 300)),
        (nn.Conv2d(40, 60, 3), (360, 540)),
        (nn.ConvTranspose2d(40, 60, 3), (360, 540)),
        (nn.Conv2d(40, 60, 3, bias=False), (360, 540)),
    ],
)
def test_weights_have_the_derived_deviation(name, layer, fans):
    torch.manual_seed(0)
    initialize(nn.Sequential(layer), name)
    deviation = DEVIATIONS[name](*fans)
    assert float(layer.weight.std()) == pytest.approx(deviation, rel=0.02)
    farthest = float(layer.weight.detach().abs().max()) / deviation
    assert (farthest <= 3**0.5 + 1e-5) == (name in UNIFORM)
    assert layer.bias is None or not layer.bias.any()


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(4, 2, 1), (8, 4, 2), (3, 2, 1)])
def test_bilinear_enlarges_a_ramp_into_a_ramp(kernel, stride, padding):
    layer = nn.ConvTranspose2d(2, 2, kernel, stride=stride, padding=padding)
    initialize(layer, "bilinear")
    ramp = torch.arange(12.0).expand(1, 1, 12, 12)
    with torch.no_grad():
        large = layer(torch.cat([ramp, torch.zeros_like(ramp)], 1))
    inner = large[0, 0, 2 * stride : -2 * stride, 2 * stride : -2 * stride]
    steps = inner.diff(dim=1)
    torch.testing.assert_close(steps, torch.full_like(steps, 1 / stride), rtol=1e-5, atol=1e-5)
    assert not large[0, 1].any()


def test_bilinear_is_torchs_interpolation():
    layer = nn.ConvTranspose2d(3, 3, 4, stride=2, padding=1, groups=3, bias=False)
    initialize(layer, "bilinear")
    map_ = torch.randn(1, 3, 6, 7)
    expected = functional.interpolate(map_, scale_factor=2, mode="bilinear", align_corners=False)
    with torch.no_grad():
        torch.testing.assert_close(layer(map_)[:, :, 1:-1, 1:-1], expected[:, :, 1:-1, 1:-1], rtol=1e-5, atol=1e-5)


def test_bilinear_leaves_other_layers_and_norms_stay_in_any_case():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    nn.init.constant_(network[1].weight, 3.0)
    before = network[0].weight.clone()
    initialize(network, "bilinear")
    assert torch.equal(network[0].weight, before)
    initialize(network, "he")
    assert not torch.equal(network[0].weight, before)
    assert float(network[1].weight.detach().mean()) == 3


def test_an_unknown_name_points_to_the_near_one():
    with pytest.raises(ConfigError, match="did you mean"):
        initialize(nn.Linear(1, 1), "glorott")
