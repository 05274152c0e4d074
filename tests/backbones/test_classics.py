"""Classic networks have the layer tables, norms, shortcuts and initialization of their papers."""

import pytest
import torch
from torch import nn

from visionkit.backbones import create_backbone
from visionkit.backbones.cifar_resnet import HalvingShortcut
from visionkit.backbones.lenet import C3_INPUTS, PartialConv, Subsampling
from visionkit.backbones.response_norm import ResponseNorm


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_lenets_layers_have_the_papers_sizes():
    parts = create_backbone("lenet5", weights="none").parts
    sizes = [count(layer) for layer in (parts["s1"].c1, parts["s2"].s2, parts["s2"].c3, parts["s4"].s4)]
    assert sizes == [156, 12, 1516, 32]


def test_c3_sees_what_table_1_says():
    columns = ["".join("X" if map_ in seen else "." for seen in C3_INPUTS) for map_ in range(6)]
    assert columns == [
        "X...XXX..XXXX.XX",
        "XX...XXX..XXXX.X",
        "XXX...XXX..X.XXX",
        ".XXX..XXXX..X.XX",
        "..XXX..XXXX.XX.X",
        "...XXX..XXXX.XXX",
    ]


def test_a_partial_convolution_is_one_small_convolution_a_map():
    torch.manual_seed(0)
    layer = PartialConv(6, C3_INPUTS, 5)
    maps = torch.randn(2, 6, 14, 13)
    expected = torch.cat([small(maps[:, list(seen)]) for seen, small in zip(C3_INPUTS, layer.maps, strict=True)], 1)
    torch.testing.assert_close(layer(maps), expected, rtol=1e-4, atol=1e-5)
    layer(maps).sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())


def test_subsampling_starts_as_the_squashed_mean():
    maps = torch.randn(1, 3, 4, 6)
    mean = torch.nn.functional.avg_pool2d(maps, 2)
    torch.testing.assert_close(Subsampling(3)(maps), 1.7159 * torch.tanh(mean * 2 / 3))


@pytest.mark.parametrize("name", ["lenet5", "lenet5_modern"])
def test_lenet_sees_the_mean_of_the_channels(name):
    backbone = create_backbone(name, weights="none")
    image = torch.randn(1, 3, 32, 32)
    gray = image.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    torch.testing.assert_close(backbone(image)["s4"], backbone(gray)["s4"])


def test_response_norm_is_the_papers():
    maps = torch.rand(1, 7, 2, 3) * 50
    expected = torch.empty_like(maps)
    for channel in range(7):
        near = maps[:, max(channel - 2, 0) : channel + 3]
        expected[:, channel] = maps[:, channel] / (2 + 1e-4 * near.square().sum(1)) ** 0.75
    torch.testing.assert_close(ResponseNorm()(maps), expected)
    assert float((expected / maps).max()) < 0.6  # the sum matters here, and not k alone


def test_response_norms_stand_where_the_papers_have_them():
    before = {}
    for name in ("alexnet", "zfnet", "vgg11_lrn"):
        with torch.device("meta"):
            layers = [m for m in create_backbone(name, weights="checkpoint").modules() if not list(m.children())]
        before[name] = [layers[at - 1].__class__.__name__ for at, m in enumerate(layers) if isinstance(m, ResponseNorm)]
    assert before == {"alexnet": ["ReLU", "ReLU"], "zfnet": ["MaxPool2d", "MaxPool2d"], "vgg11_lrn": ["ReLU"]}


def test_alexnet_begins_as_in_the_paper():
    layers = [m for m in create_backbone("alexnet", weights="none").modules() if isinstance(m, nn.Conv2d)]
    assert [float(layer.bias.detach().mean()) for layer in layers] == [0, 1, 0, 1, 1]
    assert [layer.groups for layer in layers] == [1, 2, 1, 2, 2]
    assert [float(layer.weight.std()) for layer in layers] == pytest.approx([0.01] * 5, rel=0.03)


def test_column_c_has_pointwise_convolutions_as_third_ones():
    backbone = create_backbone("vgg16_c", weights="none", out_stages=["s16"])
    sizes = {
        place: backbone.get_submodule(modules[0]).kernel_size[0] for place, modules in backbone.layers_by_name().items()
    }
    assert [place for place, size in sizes.items() if size == 1] == ["conv3_3", "conv4_3", "conv5_3"]
    assert len(sizes) == 13


def test_the_halving_shortcut_has_zeros_for_new_channels():
    maps = torch.randn(2, 3, 5, 6)
    halved = HalvingShortcut(2)(maps)
    assert halved.shape == (2, 5, 3, 3)
    assert torch.equal(halved[:, :3], maps[:, :, ::2, ::2])
    assert not halved[:, 3:].any()


@pytest.mark.parametrize("name", ["cifar_resnet20", "cifar_resnet110"])
def test_the_number_of_a_cifar_resnet_is_that_of_its_layers(name):
    with torch.device("meta"):
        backbone = create_backbone(name, weights="checkpoint")
    convolutions = [module for module in backbone.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) + 1 == int(name.removeprefix("cifar_resnet"))  # the head's layer is one of them


@pytest.mark.parametrize("name", ["cifar_densenet_40_12", "cifar_densenet_bc_250_24"])
def test_the_first_number_of_a_cifar_densenet_is_that_of_its_layers(name):
    with torch.device("meta"):
        backbone = create_backbone(name, weights="checkpoint")
    convolutions = [module for module in backbone.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) + 1 == int(name.split("_")[-2])


@pytest.mark.parametrize("name", ["cifar_densenet_40_12", "cifar_densenet_bc_100_12"])
def test_recomputing_changes_neither_maps_nor_gradients(name):
    plain = create_backbone(name, weights="none", out_stages=["s1"]).double()
    spare = create_backbone(name, weights="none", out_stages=["s1"], memory_efficient=True).double()
    spare.load_state_dict(plain.state_dict())
    image = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    for network in (plain, spare):
        network(image)["s1"].square().sum().backward()
    for ours, theirs in zip(spare.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_dropout_follows_every_convolution_but_the_first():
    backbone = create_backbone("cifar_densenet_bc_100_12", weights="none", dropout=0.2)
    layers = list(backbone.modules())
    behind = {layers[at + 1].p for at, m in enumerate(layers) if isinstance(m, nn.Conv2d) if at > 3}
    shares = [layer.p for layer in layers if isinstance(layer, nn.Dropout)]
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    assert behind == {0.2}
    assert shares == [0.2] * (len(convolutions) - 1)
    assert backbone.spec["dropout"] == 0.2


def test_googlenet_hands_over_what_its_auxiliary_heads_see():
    backbone = create_backbone("googlenet", weights="none").eval()
    maps, inner = backbone.forward_with_inner_maps(torch.randn(1, 3, 64, 64))
    assert {name: tuple(map_.shape) for name, map_ in inner.items()} == {
        "inception4a": (1, 512, 4, 4),
        "inception4d": (1, 528, 4, 4),
    }
    assert list(maps) == list(backbone.stages)


def test_most_networks_have_no_inner_maps():
    backbone = create_backbone("resnet18", weights="none").eval()
    maps, inner = backbone.forward_with_inner_maps(torch.randn(1, 3, 32, 32))
    assert (list(maps), inner) == (list(backbone.stages), {})
