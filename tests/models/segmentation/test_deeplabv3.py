"""DeepLabV3 compared with torchvision."""

import pytest
import torch
import torchvision

from visionkit.backbones import create_backbone
from visionkit.errors import CheckpointError, ConfigError
from visionkit.models import create_model


def ours(num_classes=5, name="resnet50", output_stride=8, **options):
    backbone = create_backbone(name, weights="none", output_stride=output_stride)
    return create_model("deeplabv3", backbone, num_classes, **options)


@pytest.fixture(scope="module")
def reference():
    torch.manual_seed(0)
    network = torchvision.models.segmentation.deeplabv3_resnet50(
        weights=None, weights_backbone=None, num_classes=5, aux_loss=True
    )
    for layer in network.modules():  # not the identity that fresh norms are
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(layer.weight, 0.5, 1)
            torch.nn.init.uniform_(layer.running_var, 1, 2)
    return network


@pytest.fixture(scope="module")
def file(reference, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "deeplabv3.pth"
    torch.save(reference.state_dict(), path)
    return str(path)


@pytest.mark.parametrize("size", [(32, 40), (37, 26), (3, 1)])
def test_logits_equal_torchvisions(reference, file, size):
    network = ours(weights=file).eval()
    x = torch.randn(1, 3, *size)
    with torch.no_grad():
        expected, logits = reference.eval()(x)["out"], network(x)
    assert logits.shape == (1, 5, *size)
    torch.testing.assert_close(logits, expected)


def test_both_heads_learn_with_torchvisions_weights(reference, file):
    network = ours(weights=file).train()
    x = torch.randn(2, 3, 17, 17)
    torch.manual_seed(1)
    expected = reference.train()(x)
    torch.manual_seed(1)
    (one, main), (half, auxiliary) = network.weighted_logits(x)
    assert (one, half) == (1.0, 0.5)
    torch.testing.assert_close(main, expected["out"])
    torch.testing.assert_close(auxiliary, expected["aux"])
    assert len(network.eval().weighted_logits(x)) == 1


def test_parameters_are_torchvisions_number():
    with torch.device("meta"):
        backbone = create_backbone("resnet50", weights="checkpoint", output_stride=8)
        network = create_model("deeplabv3", backbone, 21)
    assert sum(parameter.numel() for parameter in network.parameters()) == 42_004_074


def test_the_auxiliary_head_may_be_left_out(file):
    network = ours(weights=file, auxiliary=False).train()
    assert not any(key.startswith("aux") for key in network.state_dict())
    assert len(network.weighted_logits(torch.randn(2, 3, 17, 17))) == 1


def test_other_classes_keep_new_last_layers(reference, file):
    network = ours(num_classes=7, weights=file)
    assert network.classifier[4].weight.shape[0] == network.aux_classifier[4].weight.shape[0] == 7
    assert torch.equal(network.classifier[1].weight, reference.classifier[1].weight)
    assert torch.equal(network.backbone.conv1.weight, reference.backbone.conv1.weight)
    assert not network.backbone.is_randomly_initialized


def test_spec_rebuilds_the_network():
    with torch.device("meta"):
        network = ours(output_stride=16, atrous_rates=(6, 12, 18), auxiliary=False)
    spec = dict(network.spec)
    assert spec["backbone"]["output_stride"] == 16
    with torch.device("meta"):
        again = create_model(spec.pop("name"), create_backbone(**spec.pop("backbone")), **spec)
    assert again.spec == network.spec


def test_published_files_are_those_of_torchvision(monkeypatch, tmp_path):
    monkeypatch.setenv("VISIONKIT_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("VISIONKIT_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="deeplabv3_resnet50_coco-cd0a2569"):
        ours(weights="coco_voc")
    with pytest.raises(ConfigError, match="no file is published for resnet152"), torch.device("meta"):
        ours(name="resnet152", weights="coco_voc")
