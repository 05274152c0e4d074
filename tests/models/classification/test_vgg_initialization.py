"""A deeper VGG starts from a shallower one's first convolutions and fully connected layers."""

import logging

import pytest
import torch

from tests.helpers.checkpoints import checkpoint, same, saved
from tests.helpers.classifiers import classifier
from visionkit.backbones import create_backbone
from visionkit.errors import CheckpointError, ConfigError
from visionkit.models.classification.classifier import Classifier

PLACES_IN_16 = {"conv1_1": 0, "conv2_1": 5, "conv3_1": 10, "conv3_2": 12}
PLACES_IN_11 = {"conv1_1": 0, "conv2_1": 3, "conv3_1": 6, "conv3_2": 8}


@pytest.fixture(autouse=True)
def small(narrow):
    torch.manual_seed(0)


def grown(name, path, num_classes=4):
    backbone = create_backbone(name, weights="checkpoint")
    return Classifier(backbone, num_classes, weights={"from": str(path)})


def features(network):
    return network.backbone.features


def test_vgg16_takes_four_convolutions_and_the_head_of_vgg11(tmp_path, caplog):
    caplog.set_level(logging.INFO, "visionkit")
    shallow = classifier("vgg11", 4)
    path = checkpoint(shallow, tmp_path / "vgg11.ckpt")
    deep = grown("vgg16", path)
    for place, index in PLACES_IN_16.items():
        assert same(features(deep)[index], features(shallow)[PLACES_IN_11[place]])
    assert same(deep.head, shallow.head)
    random = (2, 7, 14, 17, 19, 21, 24, 26, 28)
    assert all(float(features(deep)[index].weight.detach().std()) > 0.01 for index in random)
    assert not any(torch.equal(features(deep)[17].weight, value) for value in features(shallow).state_dict().values())
    assert "copied conv1_1, conv2_1, conv3_1, conv3_2 of vgg11; conv1_2, conv2_2, conv3_3" in caplog.text
    assert "copied all layers of the head (fc6, fc7, fc8)" in caplog.text
    assert deep.backbone.initialized_from == str(path)


def test_norms_come_with_their_convolutions(tmp_path):
    shallow = classifier("vgg11_bn", 4)
    for layer in features(shallow):
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.uniform_()
    deep = grown("vgg13_bn", checkpoint(shallow, tmp_path / "vgg11.ckpt"))
    assert same(features(deep)[8], features(shallow)[5])
    assert float(features(deep)[8].running_mean.abs().max()) > 0


@pytest.mark.parametrize("target", ["vgg13", "vgg16_c", "vgg19", "vgg11_lrn", "vgg11"])
def test_every_plain_column_grows_from_a(target, tmp_path):
    shallow = classifier("vgg11", 4)
    deep = grown(target, checkpoint(shallow, tmp_path / "vgg11.ckpt"), num_classes=9)
    places = deep.backbone.layers_by_name()
    for place, index in PLACES_IN_11.items():
        assert same(deep.backbone.get_submodule(places[place][0]), features(shallow)[index])
    assert same(deep.head.layers.fc7, shallow.head.layers.fc7)


def test_a_published_file_serves_as_well(tmp_path, caplog):
    shallow = classifier("vgg13", 4)
    path = saved(shallow.backbone.state_dict(), tmp_path / "vgg13.pth")
    deep = grown("vgg19", path)
    assert same(features(deep)[2], features(shallow)[2])  # conv1_2
    assert same(features(deep)[7], features(shallow)[7])  # conv2_2, the fourth
    assert not torch.equal(features(deep)[10].weight, features(shallow)[10].weight)
    assert "copied none of the head's layers; fc6, fc7, fc8 stay randomly initialized" in caplog.text


@pytest.mark.parametrize(("source", "target"), [("vgg11", "vgg13_bn"), ("vgg11_bn", "vgg13"), ("vgg13", "vgg11")])
def test_what_has_no_place_is_refused(source, target, tmp_path):
    path = checkpoint(classifier(source, 4), tmp_path / "shallow.ckpt")
    with pytest.raises(CheckpointError, match=f"{target} cannot be initialized from {source}"):
        grown(target, path)


def test_a_file_of_another_network_is_refused(tmp_path):
    path = checkpoint(classifier("lenet5", 4), tmp_path / "lenet.ckpt")
    with pytest.raises(CheckpointError, match="holds no VGG"):
        grown("vgg13", path)


@pytest.mark.parametrize("policy", [{"frozen_stages": 1}, {"batch_norm": "frozen"}])
def test_random_layers_are_not_fixed(policy, tmp_path):
    path = checkpoint(classifier("vgg11", 4), tmp_path / "shallow.ckpt")
    backbone = create_backbone("vgg13", weights="checkpoint", **policy)
    with pytest.raises(ConfigError, match="randomly initialized weights"):
        Classifier(backbone, 4, weights={"from": str(path)})


def test_the_rest_starts_as_the_recipe_says(tmp_path):
    path = checkpoint(classifier("vgg11", 4), tmp_path / "shallow.ckpt")
    backbone = create_backbone("vgg13", weights="checkpoint")
    deep = Classifier(backbone, 4, initialization="fan_in", weights={"from": str(path)})
    weight = features(deep)[12].weight  # conv3_2 of vgg13 comes from vgg11
    drawn = features(deep)[17].weight
    assert float(drawn.detach().std()) == pytest.approx((512 * 9) ** -0.5, rel=0.02)
    assert float(weight.detach().std()) == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.02)
