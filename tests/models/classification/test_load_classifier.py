"""Loading the weights of a complete classifier, and the log messages."""

import logging

import pytest
import torch
import torchvision

from tests.helpers.checkpoints import checkpoint, same, saved
from tests.helpers.classifiers import classifier, randomized
from visionkit.errors import CheckpointError, ConfigError


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(1)
    return randomized(torchvision.models.resnet18(num_classes=7)).eval()


@pytest.fixture
def published(resnet, tmp_path):
    return saved(resnet.state_dict(), tmp_path / "resnet18.pth")


def told(caplog, level):
    return [record.getMessage() for record in caplog.records if record.levelno == level]


def test_a_published_file_gives_its_logits(resnet, published, caplog):
    caplog.set_level(logging.INFO, "visionkit")
    network = classifier("resnet18", 7, weights=str(published)).eval()
    image = torch.randn(2, 3, 40, 50)
    with torch.no_grad():
        torch.testing.assert_close(network(image), resnet(image), rtol=1e-5, atol=1e-5)
    assert told(caplog, logging.INFO) == [f"{published}: copied all layers of the head (fc)"]
    assert network.backbone.initialized_from == network.spec["backbone"]["initialized_from"] == str(published)
    network.backbone.freeze(1)


def test_other_classes_keep_a_new_layer(resnet, published, caplog):
    network = classifier("resnet18", 3, weights=str(published))
    assert same(network.backbone.layer4, resnet.layer4)
    assert "copied none of the head's layers; fc stay randomly initialized" in told(caplog, logging.WARNING)[0]


def test_vgg_keeps_fc6_and_fc7_for_other_classes(narrow, tmp_path, caplog):
    known = classifier("vgg11", 7)
    theirs = {"layers.fc6": "classifier.0", "layers.fc7": "classifier.3", "layers.fc8": "classifier.6"}
    head = {
        f"{theirs[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}": v for key, v in known.head.state_dict().items()
    }
    path = saved({**known.backbone.state_dict(), **head}, tmp_path / "vgg11.pth")
    network = classifier("vgg11", 3, weights=str(path))
    assert same(network.head.layers.fc6, known.head.layers.fc6)
    assert same(network.head.layers.fc7, known.head.layers.fc7)
    assert "copied fc6, fc7 of the head's layers; fc8 stay randomly initialized" in told(caplog, logging.WARNING)[0]
    assert same(classifier("vgg11", 7, weights=str(path)), known)


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "lenet5", "cifar_densenet_40_12"])
def test_an_own_checkpoint_gives_all(name, tmp_path):
    known = randomized(classifier(name, 4))
    path = checkpoint(known, tmp_path / "best.ckpt")
    assert same(classifier(name, 4, weights=str(path)), known)


def test_googlenet_for_other_classes_keeps_its_auxiliary_trunks(tmp_path, caplog):
    known = classifier("googlenet", 4)
    network = classifier("googlenet", 6, weights=str(checkpoint(known, tmp_path / "best.ckpt")))
    assert same(network.head.aux2.fc1, known.head.aux2.fc1)
    assert "fc, aux1.fc2, aux2.fc2 stay randomly initialized" in told(caplog, logging.WARNING)[0]


def test_a_detectors_checkpoint_gives_its_backbone(resnet, tmp_path, caplog):
    known = classifier("resnet18", 4)
    state = {f"pipeline.network.backbone.{key}": value for key, value in known.backbone.state_dict().items()}
    path = saved(
        {"visionkit": {}, "state_dict": {**state, "pipeline.network.rpn.w": torch.zeros(1)}}, tmp_path / "best.ckpt"
    )
    assert same(classifier("resnet18", 4, weights=str(path)).backbone, known.backbone)
    assert "stay randomly initialized" in caplog.text


def test_imagenet_is_found_on_disk(resnet, tmp_path, monkeypatch):
    saved(resnet.state_dict(), tmp_path / "resnet18-imagenet.pth")
    monkeypatch.setenv("VISIONKIT_WEIGHTS", str(tmp_path))
    network = classifier("resnet18", 7, weights="imagenet")
    assert same(network.head.fc, resnet.fc)
    assert network.backbone.initialized_from == "imagenet"


@pytest.mark.parametrize(
    ("name", "weights", "error", "words"),
    [
        ("resnet34", "FILE", CheckpointError, ["resnet18.pth", "resnet34", "missing"]),
        ("vgg11", "FILE", CheckpointError, ["vgg11", "unknown", "conv1.weight"]),
        ("lenet5", "imagenet", CheckpointError, ["no ImageNet weights are published", "lenet5"]),
        ("resnet18", "no/such.pth", CheckpointError, ["no/such.pth"]),
        ("resnet18", "auto", ConfigError, ["model.weights=auto", "model.backbone.weights=auto"]),
        ("resnet18", {"form": "x"}, ConfigError, ["form", "from: path"]),
        ("resnet18", {"from": "x"}, ConfigError, ["initializes a VGG", "resnet18"]),
    ],
)
def test_what_cannot_be_is_told(name, weights, error, words, published, narrow):
    weights = str(published) if weights == "FILE" else weights
    with pytest.raises(error) as caught:
        classifier(name, 4, weights=weights)
    assert [word for word in words if word not in str(caught.value)] == []
    assert len(str(caught.value).splitlines()) <= 5


def test_imagenet_that_cannot_be_had_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("VISIONKIT_WEIGHTS", raising=False)
    with pytest.raises(CheckpointError, match=r"resnet18-.*pth is not in"):
        classifier("resnet18", weights="imagenet")


def test_only_what_no_file_fills_is_initialized_by_name(resnet, published):
    network = classifier("resnet18", 3, weights=str(published), initialization="he")
    assert same(network.backbone.conv1, resnet.conv1)
    assert float(network.head.fc.bias.detach().abs().max()) == 0  # the layer's own start is not
