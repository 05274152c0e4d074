import pytest
import torch

from tests.helpers.pretrained import IMAGES, pretrained
from visionkit.backbones import create_backbone
from visionkit.engine.domain_distance import batch_norm_layers, domain_distance
from visionkit.errors import ConfigError


def test_images_of_the_training_data_have_the_smallest_distance():
    backbone = pretrained()
    same = domain_distance(backbone, IMAGES.split(3))
    other = domain_distance(backbone, [2 * IMAGES + 1])
    assert list(same) == ["s4", "s8", "s16", "s32"]
    assert same["s4"] < 1e-5
    assert same["s8"] < 1e-4, "running variances are unbiased, those compared are not: it shows where maps are small"
    assert all(other[stage] > 4 * same[stage] for stage in same)


def test_one_layer_by_hand():
    backbone = pretrained()
    layers = batch_norm_layers(backbone)
    first = layers["s4"][0]
    for stage in layers.values():
        for layer in stage:
            layer.running_mean.zero_()
            layer.running_var.fill_(1.0)
    inputs = torch.nn.functional.conv2d(IMAGES, backbone.state_dict()["conv1.weight"], stride=2, padding=3)
    mean, variance = inputs.mean(dim=(0, 2, 3)), inputs.var(dim=(0, 2, 3), correction=0)
    by_hand = 1 - (2 * variance.sqrt() / (1 + variance)).sqrt() * torch.exp(-(mean**2) / (4 * (1 + variance)))
    backbone.stage_modules = {"s4": ["bn1"]}
    assert batch_norm_layers(backbone)["s4"] == [first]
    assert domain_distance(backbone, [IMAGES[:2], IMAGES[2:]])["s4"] == pytest.approx(by_hand.mean().item(), 1e-5)


def test_hooks_are_removed():
    backbone = pretrained()
    domain_distance(backbone, [IMAGES])
    assert not any(module._forward_pre_hooks for module in backbone.modules())


def test_a_backbone_without_batch_norm_has_no_distance():
    backbone = create_backbone("vgg11", weights="none", out_stages=["s4"])
    backbone.is_randomly_initialized = False
    assert domain_distance(backbone, [IMAGES]) == {}


def test_a_randomly_initialized_backbone_raises():
    with pytest.raises(ConfigError, match="no training data to compare with"):
        domain_distance(create_backbone("resnet18", weights="none"), [IMAGES])
