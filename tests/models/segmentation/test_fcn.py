"""FCN: scores and upsampling as in the paper, fc6 and fc7 from a classifier, and 8s from 16s."""

import logging

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.helpers.segmentation_checks import check_learning, check_sizes, check_spec
from visionkit.backbones import create_backbone
from visionkit.errors import CheckpointError, ConfigError
from visionkit.models import create_model
from visionkit.ops.upsampling import bilinear

NAMES = {"fcn32s": (), "fcn16s": (16,), "fcn8s": (16, 8)}


def network(name="fcn8s", num_classes=2, backbone="vgg11", weights=None, head_channels=16, **options):
    torch.manual_seed(0)
    built = create_backbone(backbone, weights="none", **options)
    return create_model(name, built, num_classes, head_channels=head_channels, head_dropout=0.0, weights=weights)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_those_of_the_papers_layers(name):
    with torch.device("meta"):
        net = create_model(name, create_backbone("vgg16", weights="checkpoint"), 21)
        assert net(torch.empty(1, 3, 50, 70)).shape == (1, 21, 50, 70)
    scores = {(): 0, (16,): 512 * 21 + 21, (16, 8): (512 + 256) * 21 + 2 * 21}[NAMES[name]] + 4096 * 21 + 21
    kernels = {(): (64,), (16,): (4, 32), (16, 8): (4, 4, 16)}[NAMES[name]]
    transposed = sum(21 * 21 * kernel * kernel for kernel in kernels)
    fully_connected = 138_357_544 - (4096 * 1000 + 1000)  # VGG-16 but for its last layer
    assert sum(parameter.numel() for parameter in net.parameters()) == fully_connected + scores + transposed


def test_the_maps_that_are_added_are_pool4_and_pool3():
    net = network().eval()
    for score in net.scores.values():
        nn.init.normal_(score.weight)
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        maps, at = [], x
        for layer in net.backbone.features:
            at = layer(at)
            if isinstance(layer, nn.MaxPool2d):
                maps.append(at)
        _, _, pool3, pool4, pool5 = maps
        fc6 = functional.relu(functional.conv2d(pool5, net.head.fc6.weight, net.head.fc6.bias, padding=3))
        fc7 = functional.relu(net.head.fc7(fc6))
        expected = net.upsample.to_s16(net.scores.deepest(fc7)) + net.scores.s16(pool4)
        expected = net.upsample.to_s1(net.upsample.to_s8(expected) + net.scores.s8(pool3))
        torch.testing.assert_close(net(x), expected)


@pytest.mark.parametrize("name", NAMES)
def test_it_starts_at_zero_and_bilinear(name):
    net = network(name)
    x = torch.randn(1, 3, 64, 64)
    assert not net(x).any()
    with torch.no_grad():
        map_ = torch.randn(1, 2, 6, 6)
        for layer in net.upsample.values():
            factor = layer.stride[0]
            inside = (..., slice(factor, -factor), slice(factor, -factor))
            torch.testing.assert_close(layer(map_)[inside], bilinear(map_, factor)[inside])


@pytest.mark.parametrize("backbone", ["vgg11", "resnet18", "timm/tf_efficientnet_lite0"])
def test_logits_have_the_input_size(backbone):
    check_sizes(network(backbone=backbone))


@pytest.mark.parametrize(
    ("name", "backbone", "steps"), [("fcn8s", "vgg11_bn", 6), ("fcn16s", "resnet18", 8), ("fcn32s", "resnet18", 8)]
)
def test_gradients_reach_everything_and_a_batch_is_learned(name, backbone, steps):
    check_learning(network(name, backbone=backbone), steps=steps, accuracy=0.8, size=64)


@pytest.mark.parametrize(("name", "backbone"), [("fcn8s", "vgg11"), ("fcn16s", "densenet121"), ("fcn32s", "resnet18")])
def test_spec_rebuilds_the_network(name, backbone):
    net = network(name, backbone=backbone)
    assert net.spec["name"] == name
    check_spec(net)


def test_fc6_and_fc7_are_those_of_the_classifier(tmp_path):
    backbone = create_backbone("vgg11", weights="none")
    classifier = {
        "classifier.0.weight": torch.randn(16, 512 * 7 * 7) / 160,
        "classifier.0.bias": torch.randn(16),
        "classifier.3.weight": torch.randn(16, 16),
        "classifier.3.bias": torch.randn(16),
    }
    torch.save({**backbone.state_dict(), **classifier}, tmp_path / "vgg.pth")
    filled = create_backbone("vgg11", weights=str(tmp_path / "vgg.pth"))
    net = create_model("fcn32s", filled, 3, head_channels=16).eval()
    x = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        deepest = net.backbone(x)["s32"]
        fc6 = functional.linear(deepest.flatten(1), classifier["classifier.0.weight"], classifier["classifier.0.bias"])
        fc7 = functional.linear(fc6.relu(), classifier["classifier.3.weight"], classifier["classifier.3.bias"]).relu()
        torch.testing.assert_close(net.head(deepest)[0, :, 3, 3], fc7[0], rtol=1e-4, atol=1e-4)


def test_8s_begins_with_a_trained_16s(tmp_path, caplog):
    before = network("fcn16s")
    for parameter in before.parameters():
        nn.init.normal_(parameter, std=0.01)
    torch.save(before.state_dict(), tmp_path / "16s.pth")
    with caplog.at_level(logging.WARNING, logger="visionkit"):
        net = network("fcn8s", weights=str(tmp_path / "16s.pth"))
    own, given = net.state_dict(), before.state_dict()
    taken = {key for key, value in given.items() if key in own and torch.equal(own[key], value)}
    assert set(given) - taken == {"upsample.to_s1.weight"}
    new = "upsample.to_s8.weight, upsample.to_s1.weight stay randomly initialized"
    assert new in caplog.text
    assert "scores.s8.weight" in caplog.text
    assert not net.scores["s8"].weight.any()
    assert not net.backbone.is_randomly_initialized


def test_a_file_of_another_backbone_is_refused(tmp_path):
    torch.save(network(backbone="vgg13").state_dict(), tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="does not fit FCN8s"):
        network(weights=str(tmp_path / "other.pth"))


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("fcn8s", {"backbone": "resnet50", "output_stride": 8}, "stride 16"),
        ("fcn8s", {"backbone": "vgg11", "out_stages": ["s8", "s32"]}, "stride 8"),
        ("fcn32s", {"backbone": "patch_cnn_33"}, "padded maps"),
    ],
)
def test_what_does_not_fit_is_refused(name, options, match):
    with pytest.raises(ConfigError, match=match):
        network(name, **options)
