"""A classifier through the command line: one round of fit, test and predict."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from visionkit.cli.main import main
from visionkit.data.datasets.shapes import Shapes
from visionkit.engine.run_record import read_record

RECIPE = """
task: classification
model: {name: classifier, backbone: {name: cifar_resnet20, weights: none}}
preprocess: {short_side: 32, crop: 28}
optimizer: {name: adamw, lr: 0.003, base_batch_size: 4, scale_lr: false}
schedule: {name: constant, warmup_steps: 0}
inference: {score_threshold: 0.0}
data:
  format: shapes
  batch_size: 4
  num_workers: 0
  augment: [{name: RandomResizedCrop, size: [28, 28], scale: [0.5, 1.0]}, {name: HorizontalFlip, p: 0.5}]
  splits:
    train: {split: train, count: 8, size: 40, min_object: 0.5, max_objects: 1, empty_share: 0.0}
    val: {split: val, count: 5, size: [40, 56], min_object: 0.5, max_objects: 1, empty_share: 0.0}
trainer: {max_epochs: 1, accelerator: cpu, enable_progress_bar: false, enable_model_summary: false}
"""
IMAGES = 5


def fit(folder, *words):
    """Train in `folder`, and return the path of the checkpoint."""
    (folder / "mine.yaml").write_text(RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["fit", "mine.yaml", *words]) == 0
    return str(folder / "runs" / "mine" / "1" / "best.ckpt")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return fit(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def images(tmp_path):
    """The validation images as files, and their true classes."""
    shapes = Shapes(split="val", count=IMAGES, size=[40, 56], min_object=0.5, max_objects=1, empty_share=0.0)
    for index in range(IMAGES):
        Image.fromarray(shapes[index].image).save(tmp_path / f"{index}.png")
    return [str(tmp_path / f"{index}.png") for index in range(IMAGES)], [shapes.label(i) for i in range(IMAGES)]


def scored(checkpoints, folder, *words):
    """metrics.json and predictions.json of a test."""
    assert main(["validate", *checkpoints, *words, "--output", str(folder)]) == 0
    return [json.loads((folder / name).read_text()) for name in ("metrics.json", "predictions.json")]


def predicted(checkpoint, images, folder):
    assert main(["predict", checkpoint, *images, "--output", str(folder)]) == 0
    return json.loads((folder / "predictions.json").read_text())


def agree(found, rows):
    """Assert that `predict` and `test` agree on each image."""
    for entry, row in zip(found, rows, strict=True):
        names, scores = zip(*[(printed["name"], printed["score"]) for printed in entry["classes"][:5]], strict=True)
        assert list(names) == row["classes"]
        np.testing.assert_allclose(scores, row["scores"], atol=1e-5)


def test_predict_and_test_agree_image_for_image(checkpoint, images, tmp_path, capsys):
    paths, labels = images
    metrics, rows = scored([checkpoint], tmp_path / "scores")
    assert "top1" in capsys.readouterr().out
    names = Shapes(count=1).class_names
    right = [names.index(row["classes"][0]) == labels[row["image_id"]] for row in rows]
    assert metrics["overall"]["top1"] == pytest.approx(np.mean(right))
    assert {"top5", "mean_recall", "calibration_error"} <= set(metrics["overall"])
    assert all("disc" in metrics["per_class"][name] for name in ("recall", "images"))
    assert np.sum(metrics["confusion"]) == IMAGES
    found = predicted(checkpoint, paths, tmp_path / "out")
    agree(found, sorted(rows, key=lambda row: row["image_id"]))
    width, height = Image.open(tmp_path / "out" / found[0]["drawn"]).size
    assert width == 56
    assert height > 40, "a strip with the classes stands below"


def test_the_record_of_the_run_has_the_share_of_waiting_for_data(checkpoint):
    record = read_record(Path(checkpoint).parent)
    assert record["sessions"][-1]["status"] == "finished"
    assert 0 < record["data_wait"] < 1


def test_validate_repeats_the_metrics_of_the_last_epoch(checkpoint, tmp_path):
    known = torch.load(checkpoint, weights_only=True)["visionkit"]["metrics"]
    assert main(["validate", checkpoint, "--output", str(tmp_path)]) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["overall"]["top1"] == pytest.approx(known["val/top1"])


def test_what_is_meant_to_be_so_is_not_warned_of(checkpoint, tmp_path, recwarn):
    fit(tmp_path, f"model.backbone.weights={checkpoint}", "model.backbone.batch_norm=frozen")
    assert [str(warning.message) for warning in recwarn if "lightning" in warning.filename] == []


def test_the_error_of_a_wrong_value_has_its_place(checkpoint, tmp_path, capsys):
    (tmp_path / "card.yaml").write_text("data:\n  batch_size: many\n")
    for words, wrong, where in (
        (["evaluation.metric=nonsense"], "evaluation.metric is 'nonsense'", "the command line"),
        (["trainer.devices=x"], "trainer cannot be used", "the recipe"),
        ([str(tmp_path / "card.yaml")], "data.batch_size is 'many'", "card.yaml:2"),
    ):
        assert main(["validate", checkpoint, *words]) == 2
        printed = capsys.readouterr().err.splitlines()
        assert wrong in printed[0]
        assert printed[-1].endswith(where)
        assert len(printed) <= 5


def test_views_are_asked_for_on_the_command_line(checkpoint, tmp_path, capsys):
    center, ten = (
        scored([checkpoint], tmp_path / views, f"inference.tta_views={views}")[1] for views in ("center", "ten_crop")
    )
    assert [row["scores"] for row in center] != [row["scores"] for row in ten]
    scales = ["inference.tta_views=dense", "inference.tta_short_sides=[32, 40]", "inference.flip=false"]
    assert scored([checkpoint], tmp_path / "dense", *scales)[0]["overall"]["top1"] >= 0
    capsys.readouterr()
    for word, printed in [
        ("inference.tta_views=tenn", "ten_crop"),
        ("inference.tta_short_sides=[20]", "below preprocess.crop 28"),
        ("inference.tta_short_sides=all", "inference.tta_short_sides is 'all'"),
    ]:
        assert main(["validate", checkpoint, word]) == 2
        assert printed in capsys.readouterr().err


def test_predict_uses_the_views_of_the_recipe(images, tmp_path):
    checkpoint = fit(tmp_path, "inference.tta_views=ten_crop", "inference.tta_short_sides=[32, 40]")
    _, rows = scored([checkpoint], tmp_path / "scores")
    agree(predicted(checkpoint, images[0], tmp_path / "out"), rows)
    _, of_center = scored(
        [checkpoint], tmp_path / "center", "inference.tta_views=center", "inference.tta_short_sides=[]"
    )
    assert rows != of_center


def test_the_mean_of_two_networks_is_scored(checkpoint, tmp_path, capsys):
    other = fit(tmp_path, "seed=1", "model.backbone.name=lenet5_modern", "preprocess.crop=32", "data.augment=[]")
    one, two, mean = (
        {
            row["image_id"]: dict(zip(row["classes"], row["scores"], strict=True))
            for row in scored(given, tmp_path / at)[1]
        }
        for at, given in (("one", [checkpoint]), ("two", [other]), ("mean", [checkpoint, other]))
    )
    for index in range(IMAGES):
        both = set(one[index]) & set(two[index]) & set(mean[index])
        assert both
        for name in both:
            assert mean[index][name] == pytest.approx((one[index][name] + two[index][name]) / 2, abs=1e-5)
    assert main(["validate", checkpoint, other]) == 0
    assert "mean-of-2-val" in capsys.readouterr().out


def test_a_missing_second_checkpoint_is_named(checkpoint, capsys):
    assert main(["validate", checkpoint, "gone.ckpt"]) == 2
    assert "there is no checkpoint gone.ckpt" in capsys.readouterr().err
