"""Removing padding from backbones: receptive fields, and networks that are refused."""

import pytest
import torch

from visionkit.backbones import create_backbone
from visionkit.backbones.remove_padding import remove_padding
from visionkit.errors import ConfigError


def backbone(name, **options):
    torch.manual_seed(0)
    return create_backbone(name, weights="none", **options)


def deepest(network, x):
    return list(network(x).values())[-1]


@pytest.mark.parametrize(
    ("name", "stages", "side"),
    [
        # 1 pixel, and for each convolution or pool (kernel - 1) times the stride before it
        ("vgg11", ["s8"], 1 + (2 + 1) + 2 * (2 + 1) + 4 * (4 + 1) + 8 * 4),
        ("vgg11", None, 1 + (2 + 1) + 2 * (2 + 1) + 4 * (4 + 1) + 8 * (4 + 1) + 16 * (4 + 1)),
        ("alexnet", None, 11 + 4 * 2 + 8 * (4 + 2) + 16 * (2 + 2 + 2 + 2)),
        ("patch_cnn_65", None, 1 + (3 + 1) + 2 * (3 + 1) + 4 * (2 + 1) + 8 * (2 + 1)),
    ],
)
def test_a_cell_sees_its_receptive_field(name, stages, side):
    network = backbone(name, out_stages=stages)
    assert remove_padding(network) == side
    assert network.training
    with torch.no_grad():
        assert deepest(network, torch.zeros(1, 3, side, side)).shape[-2:] == (1, 1)


def test_a_cell_changes_with_its_window_and_with_nothing_else():
    network = backbone("vgg11", out_stages=["s8"]).eval()
    side = remove_padding(network)
    x = torch.randn(1, 3, side + 16, side + 16, requires_grad=True)
    deepest(network, x)[..., 1, 1].sum().backward()
    seen = x.grad.abs().sum(dim=(0, 1)) > 0
    rows, columns = torch.where(seen)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (8, side + 7, 8, side + 7)


def test_inside_the_image_the_map_is_the_padded_networks():
    padded, network = (backbone("vgg11", out_stages=["s4"]).eval() for _ in range(2))
    assert remove_padding(network) == 26
    x = torch.randn(1, 3, 80, 80)
    with torch.no_grad():
        # A padded cell's square begins 1 + 2 + 4 + 4 = 11 pixels before the cell, so the fourth begins at pixel 1.
        inner = deepest(padded, x)[..., 3:17, 3:17]
        torch.testing.assert_close(deepest(network, x[..., 1:, 1:]), inner, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "googlenet", "vgg16_atrous", "cifar_resnet20"])
def test_what_needs_its_padding_is_refused(name):
    with pytest.raises(ConfigError, match="cannot be run over windows"):
        remove_padding(backbone(name))
