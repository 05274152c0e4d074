"""Every shipped recipe and card: found by walking the folders, composed, checked, trained for two steps."""

import shutil

import pytest
import yaml

from tests.helpers.overrides import SPLITS, TINY
from tests.helpers.real_data import REPOSITORY
from visionkit.cli.config.compose import compose
from visionkit.cli.config.schema import check
from visionkit.cli.main import main
from visionkit.models.classification import heads

RECIPES = sorted(path for path in (REPOSITORY / "recipes").rglob("*.yaml") if "_base" not in path.parts)
CARDS = sorted((REPOSITORY / "data").glob("*.yaml"))


SEVERAL_HEADS = [path for path in RECIPES if path.stem.startswith("multi_")]
OTHERS = [path for path in RECIPES if path not in SEVERAL_HEADS]


@pytest.mark.parametrize("recipe", OTHERS, ids=lambda path: path.stem)
def test_every_recipe_fits_every_card(recipe):
    """All keys are known, those of the card are in force, and the model is that of the recipe."""
    model = compose([str(recipe)]).values["model"]["name"]
    for card in CARDS:
        composed = compose([str(recipe), str(card)])
        check(composed)
        given = yaml.safe_load(card.read_text())["data"]
        assert given.keys() <= composed.values["data"].keys(), card.name
        assert composed.values["model"]["name"] == model


@pytest.mark.parametrize("recipe", SEVERAL_HEADS, ids=lambda path: path.stem)
def test_a_recipe_of_several_heads_has_a_card_for_each(recipe):
    composed = compose([str(recipe)])
    check(composed)
    bound = [head for card in composed.values["data"]["cards"].values() for head in card["heads"]]
    assert sorted(bound) == sorted(composed.values["model"]["heads"])


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_are_short_and_say_how_they_are_run(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 25
    head = [line for line in text.splitlines() if line.startswith("#")]
    assert any(f"visionkit fit recipes/{path.name}" in line for line in head)


HEAVY = {
    "deconvnet",
    "deeplabv3_resnet50",
    "fast_rcnn_vgg16",
    "faster_rcnn_resnet101",
    "fc_densenet103",
    "fc_densenet67",
    "fcn32s_vgg16",
    "fcn8s_vgg16",
    "frrn_b",
    "rcnn_alexnet",
    "rfcn_resnet101",
    "segnet",
    "ssd300_vgg16",
    "ssd512_vgg16",
}
"""Recipes whose two steps and checkpoints take a minute or gigabytes; trained by `pytest -m slow`."""


NARROW = {
    "faster_rcnn": ["model.head_channels=16"],
    "mask_rcnn": ["model.head_channels=16", "model.mask_channels=16"],
    "yolov2": ["model.head_channels=16"],
}
"""Overrides by model that leave most of the weights of wide heads out."""


def trained(path):
    return pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem in HEAVY else [])


@pytest.fixture
def emptied(tmp_path):
    """A folder that is emptied after each test, because the checkpoints of all recipes would fill the disk."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize("recipe", [trained(path) for path in RECIPES])
def test_every_recipe_trains_two_steps(recipe, emptied, monkeypatch):
    monkeypatch.chdir(emptied)
    monkeypatch.setattr(heads, "FULL_WIDTH", 64)  # instead of up to 120 million weights in fc6 and fc7
    weights = ["model.backbone.weights=none", "model.backbone.batch_norm=trained", "model.backbone.frozen_stages=0"]
    composed = compose([str(recipe)]).values
    task = composed["task"]
    # A classifier keeps the 96 pixels of the shapes card: AlexNet has nothing left of 64.
    words = [word for word in TINY if task == "detection" or not word.startswith("preprocess.")]
    if task == "multi":
        words = [*(word for word in words if word != SPLITS), "trainer.check_val_every_n_epoch=1"]
        source = f"{{format: shapes, {SPLITS.removeprefix('data.').replace('=', ': ', 1)}}}"
        words += [f"data.cards.{name}={source}" for name in composed["data"]["cards"]]
        words.append("trainer.check_val_every_n_epoch=1")  # for best.ckpt after the only epoch
    assert main(["fit", str(recipe), *words, *weights, *NARROW.get(composed["model"]["name"], [])]) == 0
    run = emptied / "runs" / recipe.stem / "1"
    assert {"recipe.yaml", "metrics.csv", "best.ckpt", "last.ckpt"} <= {path.name for path in run.iterdir()}
    assert yaml.safe_load((run / "recipe.yaml").read_text())["task"] == task


@pytest.mark.parametrize(
    "name",
    [
        "alexnet_imagenet",
        "deconvnet",
        "fast_rcnn_vgg16",
        "fcn32s_vgg16",
        "fcn8s_vgg16",
        "rcnn_alexnet",
        "segnet",
        "ssd300_vgg16",
        "ssd512_vgg16",
        "yolov1_resnet18",
        "yolov2_resnet50",
    ],
)
def test_biases_do_not_decay_in_recipes_of_caffe_and_darknet(name):
    assert compose([name]).values["optimizer"]["decay_norm"] is False


def test_recipes_follow_the_authors_code():
    names = ("densenet121_imagenet", "yolov2_resnet50", "ssd300_vgg16")
    recipe = {name: compose([name, "voc0712"]).values for name in names}
    assert recipe["densenet121_imagenet"]["optimizer"]["nesterov"]
    schedule = recipe["yolov2_resnet50"]["schedule"]
    assert (schedule["warmup_steps"], schedule["warmup_factor"], schedule["warmup_power"]) == (1000, 0, 4)
    assert recipe["ssd300_vgg16"]["model"]["clip_boxes"] is False
    assert recipe["ssd300_vgg16"]["data"]["augment"][0] == {"name": "PhotometricDistort"}
