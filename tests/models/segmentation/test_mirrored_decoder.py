"""SegNet and DeconvNet: a VGG and its mirror image."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.helpers.segmentation_checks import check_learning, check_sizes, check_spec
from visionkit.backbones import create_backbone
from visionkit.errors import ConfigError
from visionkit.models import create_model

SMALL_HEAD = {"segnet": {}, "deconvnet": {"head_channels": 8, "head_size": 1}}


def network(name, num_classes=2, backbone="vgg11_bn", weights=None, **options):
    torch.manual_seed(0)
    built = create_backbone(backbone, weights="none")
    return create_model(name, built, num_classes, weights=weights, **{**SMALL_HEAD[name], **options})


def without_values(name, num_classes, **options):
    with torch.device("meta"):
        return create_model(name, create_backbone("vgg16_bn", weights="checkpoint"), num_classes, **options)


@pytest.mark.parametrize(("whole", "count", "layers"), [(False, 29_412_299, 25), (True, 29_449_355, 26)])
def test_segnet_has_the_published_number_of_parameters(whole, count, layers):
    net = without_values("segnet", 11, mirror_conv1_2=whole)
    assert sum(parameter.numel() for parameter in net.parameters()) == count
    convs = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    assert len(convs) == layers


def test_no_other_reading_of_segnet_has_the_number_of_the_one_without_conv1_2():
    net = without_values("segnet", 11, mirror_conv1_2=True)
    small = [parameter.numel() for parameter in net.parameters() if parameter.ndim == 1]  # biases, scales, shifts
    first_kernel_on_gray, last_kernel_of_one_pixel = 64 * 2 * 9, 64 * 11 * 8
    assert sum(small) + first_kernel_on_gray + last_kernel_of_one_pixel < 29_449_355 - 29_412_299


def test_deconvnet_has_the_published_number_of_parameters():
    net = without_values("deconvnet", 21)
    count = sum(parameter.numel() for parameter in net.parameters())
    assert count == pytest.approx(251.8e6, rel=0.0005)
    encoder = 14_714_688 + 2 * 4224  # VGG-16's convolutions, and scale and shift of their norms
    fully_connected = 512 * 49 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 49 * 512 + 512 + 2 * (4096 + 4096 + 512)
    inputs = [512] * 6 + [256] * 3 + [128] * 2 + [64] * 2
    widths = [*inputs[1:], 64]
    decoder = sum(9 * before * after + 3 * after for before, after in zip(inputs, widths, strict=True))
    assert count == encoder + fully_connected + decoder + 64 * 21 + 21


def test_the_paths_of_segnet_mirror_each_other():
    net = network("segnet").eval()
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        at, indices, sizes = x, [], []
        for layer in net.backbone.features:
            if isinstance(layer, nn.MaxPool2d):
                sizes.append(at.shape)
                at, where = functional.max_pool2d(at, 2, return_indices=True)
                indices.append(where)
            else:
                at = layer(at)
        for stage, where, size in zip(net.decoder.stages, indices[::-1], sizes[::-1], strict=True):
            at = stage(functional.max_unpool2d(at, where, 2, output_size=size))
        torch.testing.assert_close(net(x), net.classifier(at))


@pytest.mark.parametrize("name", SMALL_HEAD)
def test_logits_have_the_input_size(name):
    check_sizes(network(name))


def test_segnet_with_its_whole_mirror_image_labels_each_pixel():
    net = network("segnet", backbone="vgg13_bn", mirror_conv1_2=True)
    check_sizes(net)
    check_spec(net)


def test_deconvnet_fills_small_images_up_to_fc6():
    with torch.device("meta"):
        net = create_model("deconvnet", create_backbone("vgg11_bn", weights="checkpoint"), 3).eval()
        seen = []
        net.head.fc6.register_forward_hook(lambda *parts: seen.append(parts[-1].shape[-2:]))
        for size in [(100, 40), (224, 224), (225, 300)]:
            assert net(torch.empty(1, 3, *size)).shape == (1, 3, *size)
    assert seen == [(1, 1), (1, 1), (2, 4)]


@pytest.mark.parametrize("name", SMALL_HEAD)
def test_gradients_reach_everything_and_a_batch_is_learned(name):
    check_learning(network(name), steps=4, accuracy=0.7, size=64)


@pytest.mark.parametrize("name", SMALL_HEAD)
def test_spec_rebuilds_the_network(name):
    check_spec(network(name))


@pytest.mark.parametrize("name", SMALL_HEAD)
def test_a_file_gives_all_but_the_last_layer_for_other_classes(name, tmp_path):
    net = network(name)
    torch.save(net.state_dict(), tmp_path / "net.pth")
    other = network(name, num_classes=5, weights=str(tmp_path / "net.pth"))
    assert torch.equal(other.decoder.stages[0][0].conv.weight, net.decoder.stages[0][0].conv.weight)
    assert other.classifier.weight.shape[0] == 5


def test_deconvnet_takes_fc6_of_the_classifier(tmp_path):
    backbone = create_backbone("vgg11_bn", weights="none")
    fc6 = {"classifier.0.weight": torch.randn(8, 512 * 49), "classifier.0.bias": torch.randn(8)}
    torch.save({**backbone.state_dict(), **fc6}, tmp_path / "vgg.pth")
    filled = create_backbone("vgg11_bn", weights=str(tmp_path / "vgg.pth"))
    net = create_model("deconvnet", filled, 3, head_channels=8)
    assert torch.equal(net.head.fc6.weight.flatten(1), fc6["classifier.0.weight"])


@pytest.mark.parametrize("name", SMALL_HEAD)
def test_another_backbone_is_refused(name):
    for built in (create_backbone("resnet18", weights="none"), create_backbone("vgg11", "none", out_stages=["s8"])):
        with pytest.raises(ConfigError, match="use vgg16_bn"):
            create_model(name, built, 3)


def test_an_empty_head_is_refused():
    with pytest.raises(ConfigError, match="must be at least 1"):
        network("deconvnet", head_size=0)
