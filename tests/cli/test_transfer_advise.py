"""`visionkit transfer advise`: the case of a card, and printed commands that run."""

import shlex

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from visionkit.cli.main import main
from visionkit.engine import transfer_statistics


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A folder of weights in place of ImageNet's, without the large classifier of VGG."""
    folder = tmp_path_factory.mktemp("weights")
    for name in ("resnet18", "vgg11"):
        network = torchvision.models.get_model(name, weights=None, **({"init_weights": False} if "vgg" in name else {}))
        state = {key: value for key, value in network.state_dict().items() if not key.startswith("classifier.")}
        torch.save(state, folder / f"{name}-imagenet.pth")
    return folder


@pytest.fixture
def desk(weights, tmp_path, monkeypatch):
    """A folder of images in two classes, their card, and the folder of weights."""
    draw = np.random.default_rng(0)
    for index in range(6):
        folder = tmp_path / "photos" / "ab"[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    (tmp_path / "mine.yaml").write_text("data: {format: folder, root: photos, splits: {train: {path: ''}}}\n")
    monkeypatch.setenv("VISIONKIT_WEIGHTS", str(weights))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(words, capsys, status=0):
    assert main(["transfer", "advise", *words]) == status
    answer = capsys.readouterr()
    return answer.err if status else answer.out


def commands(text):
    return [shlex.split(line)[1:] for line in text.splitlines() if line.strip().startswith("visionkit fit ")]


def test_metrics_and_case_of_a_folder(desk, capsys):
    text = said(["mine.yaml", "model.backbone=resnet18"], capsys)
    assert "task: classification, 6 training images, median size 50 x 40" in text
    assert "images of each of 2 classes: a 3, b 3" in text
    assert "median of the classes: 3, that is few (many from 1000)" in text
    assert "resnet18 is normalized with 0.48, 0.46, 0.41" in text
    assert "by stage: s4 " in text
    assert "case: few images, different domain" in text


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("similar", [False, True])
def test_the_lines_of_every_case_can_be_run(large, similar, desk, capsys, monkeypatch):
    monkeypatch.setattr(transfer_statistics, "LARGE_FROM", 3 if large else 4)
    monkeypatch.setattr(transfer_statistics, "SIMILAR_BELOW", 1.1 if similar else 0.0)
    text = said(["mine.yaml", "model.backbone=resnet18"], capsys)
    assert f"case: {'many' if large else 'few'} images, {'similar' if similar else 'different'} domain" in text
    lines = commands(text)
    assert len(lines) == (1 if large or similar else 2)
    for line in lines:
        assert main([*line, "--dry-run"]) == 0
        assert "name: resnet18" in capsys.readouterr().out


def test_objects_lead_to_a_detection_recipe(desk, capsys):
    splits = "data.splits={train: {split: train, count: 3, size: 64}}"
    (line, *_) = commands(said(["shapes", splits, "model.backbone=resnet18"], capsys))
    assert main([*line, "--dry-run"]) == 0
    assert "task: detection" in capsys.readouterr().out


def test_a_recipe_among_the_words_is_kept(desk, capsys):
    words = ["resnet20_cifar10", "mine.yaml", "model.backbone=resnet18", "model.backbone.weights=imagenet"]
    (line, *_) = commands(said(words, capsys))
    assert line[:3] == ["fit", "resnet20_cifar10", "mine.yaml"]
    assert main([*line, "--dry-run"]) == 0


def test_a_crop_too_small_for_the_network_is_put_right(desk, capsys):
    (line, *_) = commands(said(["mine.yaml", "model.backbone=resnet18", "preprocess.crop=32"], capsys))
    assert "preprocess.crop=224" in line
    assert "preprocess.crop=32" not in line


def test_without_batchnorm_the_domain_stays_open(desk, capsys):
    text = said(["mine.yaml", "model.backbone=vgg11"], capsys)
    assert "vgg11 has no BatchNorm layers" in text
    assert "case: few images, similar domain (if the images are alike)" in text
    assert "case: few images, different domain (if they are not)" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["mine.yaml", "model.backbone=resnet18", "model.backbone.weights=none"],
            "would freeze the randomly initialized weights",
        ),
        (["mine.yaml", "model.backbone=resnet19"], "unknown name 'resnet19'; did you mean resnet18"),
        (["mine.yaml", "model.backbone=resnet18", "model.backbone.weights=gone.pth"], "there is no weights file"),
        (["mine.yaml", "model.backbone=resnet18", "data.splits.train.path=gone"], "gone"),
        (["mine.yaml", "dat.root=photos"], "unknown key dat"),
        (["nowhere.yaml"], "there is no recipe or data card nowhere.yaml"),
    ],
)
def test_mistakes_are_errors(words, message, desk, capsys):
    text = said(words, capsys, status=2)
    assert message in text
    assert len(text.strip().splitlines()) <= 5
