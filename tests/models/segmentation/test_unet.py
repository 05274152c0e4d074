"""U-Net: number of parameters and sizes of the paper, and U-Net on other backbones."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.helpers.segmentation_checks import check_learning, check_sizes, check_spec
from visionkit.backbones import create_backbone
from visionkit.errors import ConfigError
from visionkit.models import create_model

OTHERS = ["resnet34", "resnet50", "densenet121", "vgg11_bn", "timm/tf_efficientnet_lite0", "googlenet"]


def network(num_classes=2, backbone="unet", weights=None, **options):
    torch.manual_seed(0)
    given = {"width": 4, "dropout": 0.0} if backbone == "unet" else {}
    return create_model(
        "unet", create_backbone(backbone, weights="none", **given), num_classes, weights=weights, **options
    )


def test_parameters_are_the_published_number():
    with torch.device("meta"):
        net = create_model("unet", create_backbone("unet", weights="checkpoint", in_channels=1), 2)
        assert net(torch.empty(1, 3, 64, 96)).shape == (1, 2, 64, 96)
    assert sum(parameter.numel() for parameter in net.parameters()) == 31_030_658
    layers = [layer for layer in net.modules() if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))]
    assert len(layers) == 23, "section 2: in total 23 convolutional layers"


def test_the_paths_run_as_the_figure_says():
    net = network().eval()
    x = torch.randn(1, 3, 32, 48)

    def twice(x, convs):
        return functional.relu(convs[2](functional.relu(convs[0](x))))

    with torch.no_grad():
        expected, skips = x, []
        for part in net.backbone.parts.values():
            expected = functional.max_pool2d(expected, 2) if skips else expected
            expected = twice(expected, part.convs)
            skips.append(expected)
        for up, skip in zip(net.ups, skips[-2::-1], strict=True):
            expected = twice(torch.cat([skip, up.upsample(expected)], 1), up.convs)
        torch.testing.assert_close(net(x), net.classifier(expected))
    assert [up.upsample.out_channels for up in net.ups] == [32, 16, 8, 4]


def test_one_channel_is_the_mean_of_the_three():
    backbone = create_backbone("unet", weights="none", in_channels=1, width=4, dropout=0.0)
    x = torch.randn(1, 3, 32, 32)
    gray = x.mean(1, keepdim=True).expand(1, 3, 32, 32)
    torch.testing.assert_close(backbone(x)["s16"], backbone(gray)["s16"])
    assert backbone.parts.s1.convs[0].in_channels == 1


def test_dropout_stands_at_the_end_of_the_contracting_path():
    backbone = create_backbone("unet", weights="none", width=4)
    assert [layer.p for layer in backbone.modules() if isinstance(layer, nn.Dropout)] == [0, 0, 0, 0, 0.5]


@pytest.mark.parametrize("backbone", ["unet", "resnet18", "timm/tf_efficientnet_lite0"])
def test_logits_have_the_input_size(backbone):
    check_sizes(network(backbone=backbone))


@pytest.mark.parametrize("backbone", ["unet", "resnet18"])
def test_it_learns_a_batch_by_heart_with_all_its_parameters(backbone):
    check_learning(network(backbone=backbone))


@pytest.mark.parametrize(
    "options",
    [{}, {"backbone": "resnet18", "decoder_channels": (32, 16, 8, 8, 8)}, {"backbone": "vgg11", "decoder": "light"}],
)
def test_spec_rebuilds_the_network(options):
    check_spec(network(**options))


@pytest.mark.parametrize("backbone", OTHERS)
def test_any_backbone_has_a_way_up_of_the_usual_widths(backbone):
    with torch.device("meta"):
        net = create_model("unet", create_backbone(backbone, weights="checkpoint"), 5).eval()
        assert net(torch.empty(1, 3, 50, 70)).shape == (1, 5, 50, 70)
    widths = [up.convs[-3].out_channels for up in net.ups]
    assert widths == [256, 128, 64, 32, 16]


def test_a_dilated_backbone_has_fewer_levels():
    with torch.device("meta"):
        net = create_model("unet", create_backbone("resnet50", weights="checkpoint", output_stride=8), 5).eval()
        assert net(torch.empty(1, 3, 50, 70)).shape == (1, 5, 50, 70)
    assert len(net.ups) == 3


def test_norms_stand_on_both_ways_or_on_none():
    with torch.device("meta"):
        net = create_model("unet", create_backbone("unet", weights="checkpoint", use_batch_norm=True), 2)
    count = {
        part: sum(isinstance(m, nn.BatchNorm2d) for m in module.modules()) for part, module in net.named_children()
    }
    assert count == {"backbone": 10, "ups": 8, "classifier": 0}


@pytest.mark.parametrize(
    ("backbone", "options", "match"),
    [
        ("patch_cnn_33", {}, "powers of two"),
        ("resnet18", {"decoder": "paper"}, "use decoder=light"),
        ("resnet18", {"decoder_channels": (16, 8)}, "needs 5 numbers"),
    ],
)
def test_what_does_not_fit_is_refused(backbone, options, match):
    with pytest.raises(ConfigError, match=match):
        network(backbone=backbone, **options)


def test_a_file_gives_all_but_the_last_layer_for_other_classes(tmp_path):
    net = network()
    torch.save(net.state_dict(), tmp_path / "net.pth")
    other = network(num_classes=7, weights=str(tmp_path / "net.pth"))
    assert torch.equal(other.ups[0].upsample.weight, net.ups[0].upsample.weight)
    assert other.classifier.weight.shape[0] == 7


def test_a_coarser_decoder_has_fewer_levels_and_upsamples_its_logits():
    net = network(backbone="resnet18", finest_stride=4).eval()
    assert len(net.ups) == 3, "strides 16, 8 and 4"
    with torch.no_grad():
        logits = net(torch.randn(1, 3, 64, 96))
    assert logits.shape == (1, 2, 64, 96)
    corner = logits[..., :2, :2]
    torch.testing.assert_close(corner, corner[..., :1, :1].expand_as(corner))  # half a cell at the border is constant
    check_sizes(net)
    check_spec(net)


def test_a_decoder_that_is_as_coarse_as_its_backbone_is_refused():
    backbone = create_backbone("resnet18", weights="none", out_stages=["s4"])
    with pytest.raises(ConfigError, match="finest_stride=4 must be below 4"):
        create_model("unet", backbone, 2, finest_stride=4)
