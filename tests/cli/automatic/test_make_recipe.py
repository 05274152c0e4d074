"""`visionkit fit CARD`: the recipe that is made for a card."""

import pytest
import yaml

from tests.helpers.photo_folder import write_photos
from visionkit.cli.automatic import make_recipe
from visionkit.cli.automatic.machine import Machine
from visionkit.cli.main import main
from visionkit.cli.run_name import run_name

CARD = "data: {format: folder, root: photos, splits: {train: {path: ''}}, holdout: {fraction: 0.34}, num_workers: 0}\n"
SHAPES = """
data:
  format: shapes
  num_workers: 0
  splits: {train: {count: 12, size: 64}, val: {split: val, count: 4, size: 64}}
"""


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder of photos and two cards, and no pretrained weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VISIONKIT_WEIGHTS", str(tmp_path))
    write_photos(tmp_path)
    (tmp_path / "mine.yaml").write_text(CARD)
    (tmp_path / "shapes.yaml").write_text(SHAPES)
    return tmp_path


def made(words, capsys):
    """Return the recipe of `--dry-run`, and its reasons."""
    assert main(["fit", *words, "--dry-run"]) == 0
    answer = capsys.readouterr()
    return yaml.safe_load(answer.out), answer.err


def test_a_recipe_is_made_with_its_reasons(desk, capsys):
    recipe, reasons = made(["mine.yaml"], capsys)
    assert recipe["task"] == "classification"
    assert recipe["model"]["backbone"]["name"] == "resnet18"
    assert recipe["data"]["root"] == "photos"
    assert "classification: 8 training images of about 64 x 64 pixels, 2 classes, 4 validation images" in reasons
    assert "recipe transfer_finetune: there are no pretrained weights" in reasons


def test_a_card_without_val_gets_a_holdout(desk, capsys):
    (desk / "mine.yaml").write_text("data: {format: folder, root: photos, splits: {train: {path: ''}}}\n")
    assert made(["mine.yaml"], capsys)[0]["data"]["holdout"] == {"fraction": 0.2, "seed": 0}
    assert "holdout" not in made(["mine.yaml", "trainer.limit_val_batches=0"], capsys)[0]["data"]


def test_a_folder_is_enough(desk, capsys):
    assert made(["photos"], capsys)[0]["task"] == "classification"


def test_keys_of_the_card_and_overrides_take_precedence(desk, capsys):
    (desk / "mine.yaml").write_text(CARD + "optimizer: {lr: 0.5}\nfor: {classification: {seed: 7}}\n")
    words = ["mine.yaml", "model.backbone=cifar_resnet20", "optimizer.stage_lr_decay=0.9"]
    recipe, _ = made(words, capsys)
    assert recipe["optimizer"]["lr"] == 0.5
    assert recipe["seed"] == 7
    assert recipe["model"]["backbone"]["name"] == "cifar_resnet20"
    assert recipe["optimizer"]["stage_lr_decay"] == 0.9


def test_a_recipe_beside_the_card_is_used_as_it_is(desk, capsys):
    recipe, reasons = made(["unet", "shapes.yaml"], capsys)
    assert recipe["model"]["backbone"] == "unet" or recipe["model"]["backbone"]["name"] == "unet"
    assert reasons == ""


def test_another_task_and_model_can_be_asked_for(desk, capsys):
    assert made(["shapes.yaml"], capsys)[0]["model"]["name"] == "mask_rcnn"
    assert made(["shapes.yaml", "model.name=ssd"], capsys)[0]["model"]["name"] == "ssd"
    assert made(["shapes.yaml", "task=classification"], capsys)[0]["model"]["name"] == "classifier"


def test_a_task_without_rules_is_refused(desk, capsys):
    assert main(["fit", "mine.yaml", "task=other"]) == 2
    assert "task=other: without a recipe, the task is one of detection, segmentation" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["photos", "photos/", "./photos/.", "photos/../photos"])
def test_the_run_of_a_folder_has_its_name(word, tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    assert run_name([word, "seed=1"]).folder == "photos"


def test_the_recipe_of_the_dry_run_can_be_used_by_itself(desk, capsys):
    recipe, _ = made(["mine.yaml"], capsys)
    (desk / "again.yaml").write_text(yaml.safe_dump(recipe))
    assert made(["again.yaml"], capsys) == (recipe, "")


@pytest.mark.parametrize("machine", [Machine(backbone="resnet18"), Machine(80.0, True, backbone="resnet50")])
@pytest.mark.parametrize("word", ["task=classification", "model.name=ssd", "model.name=faster_rcnn", "seed=0"])
def test_every_setting_is_a_key_of_recipes(word, machine, desk, capsys, monkeypatch):
    monkeypatch.setattr(make_recipe, "this_machine", lambda backbone, measure: machine)
    recipe, _ = made(["shapes.yaml", word], capsys)
    assert recipe["model"]["backbone"]["name"] == machine.backbone


def test_an_input_size_of_the_command_line_is_kept(desk, capsys, monkeypatch):
    monkeypatch.setattr(make_recipe, "this_machine", lambda backbone, measure: Machine(backbone="resnet18"))
    (desk / "mine.yaml").write_text(CARD + "for: {classification: {preprocess: {short_side: 32, crop: 32}}}\n")
    recipe, _ = made(["mine.yaml", "preprocess.short_side=300"], capsys)
    assert min(recipe["preprocess"]["size"]) == 300
    recipe, _ = made(["shapes.yaml", "model.name=faster_rcnn", "preprocess.short_side=200"], capsys)
    assert (recipe["preprocess"]["short_side"], recipe["preprocess"]["long_side"]) == (200, 400)


def test_it_trains_for_the_given_time(desk, capsys):
    words = ["mine.yaml", "model.backbone=cifar_resnet20", "preprocess={short_side: 32, crop: 32}", "data.augment=[]"]
    assert main(["fit", *words, "--minutes", "0.15", "trainer.accelerator=cpu", "optimizer.base_batch_size=4"]) == 0
    assert (desk / "runs/mine/1/best.ckpt").is_file()
    capsys.readouterr()
    resumed, reasons = made(["mine.yaml", "--resume", "seed=3"], capsys)
    assert reasons == "", "the recipe of the run is taken, and none is made"
    assert (resumed["model"]["backbone"]["name"], resumed["seed"]) == ("cifar_resnet20", 3)
    assert yaml.safe_load((desk / "runs/mine/1/recipe.yaml").read_text())["model"]["backbone"]["weights"] == "none"


def test_a_card_without_images_is_refused(desk, capsys):
    (desk / "empty").mkdir()
    (desk / "mine.yaml").write_text(CARD.replace("photos", "empty"))
    assert main(["fit", "mine.yaml"]) == 2
    assert "empty" in capsys.readouterr().err
