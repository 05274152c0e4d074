import pytest
import torch

from visionkit.backbones import create_backbone
from visionkit.errors import ConfigError
from visionkit.models.detection.parts.box_head import TwoLayerHead
from visionkit.models.detection.rcnn.region_classifier import RegionClassifier, deepest_map_values


def small_classifier():
    torch.manual_seed(0)
    backbone = create_backbone("alexnet", weights="none").eval()
    return backbone, RegionClassifier(backbone, TwoLayerHead(deepest_map_values(backbone, 67), 16, 0.0))


def test_features_are_the_deepest_map_and_the_two_layers_on_it():
    backbone, classifier = small_classifier()
    x = torch.randn(2, 3, 67, 67)
    features = classifier.compute_features(x)
    *_, deepest = backbone(x).values()
    torch.testing.assert_close(features.deepest, deepest.flatten(1))
    torch.testing.assert_close(features.fc7, classifier.layers(deepest))
    torch.testing.assert_close(classifier(x), features.fc7)


def test_the_backbone_is_not_a_submodule():
    _, classifier = small_classifier()
    assert all(name.startswith("layers.") for name in classifier.state_dict())


def test_no_region_gives_empty_features_and_a_gradient_for_every_parameter():
    backbone, classifier = small_classifier()
    features = classifier.compute_features(torch.zeros(0, 3, 67, 67))
    assert features.deepest.shape == (0, deepest_map_values(backbone, 67))
    assert features.fc7.shape == (0, 16)
    features.fc7.sum().backward()
    parameters = [*backbone.parameters(), *classifier.parameters()]
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in parameters)


def test_an_image_that_is_too_small_is_refused_and_the_mode_is_kept():
    backbone = create_backbone("alexnet", weights="none").train()
    with pytest.raises(ConfigError, match="warp_size=20 is too small: the maps of alexnet"):
        deepest_map_values(backbone, 20)
    assert backbone.training
