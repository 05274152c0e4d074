"""A segmenter through the command line: one round of fit, test and predict."""

import json

import numpy as np
import pytest
from PIL import Image

from visionkit.cli.main import main
from visionkit.data.datasets.shapes import Shapes
from visionkit.ops.palette import class_color
from visionkit.tasks import Task

RECIPE = """
task: segmentation
model: {name: patch_classifier, hidden: 8, backbone: {name: patch_cnn_33, weights: none}}
optimizer: {name: adamw, lr: 0.003, base_batch_size: 4, scale_lr: false}
schedule: {name: constant, warmup_steps: 0}
loss: {terms: [cross_entropy, dice], class_weights: median_frequency}
evaluation: {boundaries: true}
data:
  format: shapes
  batch_size: 4
  num_workers: 0
  augment: [{name: RandomCrop, height: 32, width: 32}, {name: HorizontalFlip, p: 0.5}]
  splits:
    train: {split: train, count: 8, size: 40, semantic: true}
    val: {split: val, count: 3, size: [40, 56], semantic: true}
trainer: {max_epochs: 1, accelerator: cpu, enable_progress_bar: false, enable_model_summary: false}
"""
IMAGES = 3


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    (folder / "mine.yaml").write_text(RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["fit", "mine.yaml"]) == 0
    return str(folder / "runs" / "mine" / "1" / "best.ckpt")


def scored(checkpoints, folder, *words):
    """metrics.json without the time, and predictions.json of a test."""
    assert main(["validate", *checkpoints, *words, "--output", str(folder)]) == 0
    metrics, rows = (json.loads((folder / name).read_text()) for name in ("metrics.json", "predictions.json"))
    return [{name: value for name, value in metrics.items() if name != "latency"}, rows]


@pytest.fixture
def images(tmp_path):
    """The validation images as files."""
    shapes = Shapes(split="val", count=IMAGES, size=[40, 56], semantic=True)
    for index in range(IMAGES):
        Image.fromarray(shapes[index].image).save(tmp_path / f"{index}.png")
    return [str(tmp_path / f"{index}.png") for index in range(IMAGES)]


@pytest.mark.parametrize("words", [(), ("inference.tile=24", "inference.overlap=8", "inference.flip=true")])
def test_metrics_and_shares_are_written(checkpoint, tmp_path, words):
    metrics, rows = scored([checkpoint], tmp_path, *words)
    assert {"mIoU", "boundary_F1"} <= set(metrics["overall"])
    assert "background" in metrics["per_class"]["IoU"]
    assert np.sum(metrics["confusion"]) == IMAGES * 40 * 56
    assert [row["image_id"] for row in rows] == list(range(IMAGES))
    assert all(sum(row["shares"].values()) == pytest.approx(1) for row in rows)


def test_predict_writes_masks_and_agrees_with_test(checkpoint, images, tmp_path):
    out = tmp_path / "out"
    assert main(["predict", checkpoint, *images, "--output", str(out)]) == 0
    found = json.loads((out / "predictions.json").read_text())
    _, rows = scored([checkpoint], tmp_path)
    names = Task.load_from_checkpoint(checkpoint).class_names
    for number, (entry, row) in enumerate(zip(found, rows, strict=True)):
        mask = Image.open(out / entry["masks"])
        assert entry["masks"] == f"masks/{number}.png"
        assert np.asarray(mask).shape == (40, 56)
        assert mask.getpalette()[:3] == list(class_color(0))
        assert entry["shares"] == {name: share for name, share in row["shares"].items() if share}
        for label, name in enumerate(names):
            assert (np.asarray(mask) == label).mean() == pytest.approx(row["shares"][name])
        assert np.asarray(Image.open(out / entry["drawn"])).shape[1:] == (56, 3)


def test_the_mean_of_a_model_with_itself_is_its_own_result(checkpoint, tmp_path):
    """Probabilities are rounded in another way, so that calibration errors are nearly equal."""
    alone = scored([checkpoint], tmp_path / "alone")
    assert same(scored([checkpoint, checkpoint], tmp_path / "both"), alone)


def same(one, other):
    """Return whether nested lists and dicts have the same entries, and nearly the same numbers."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == (pytest.approx(other, rel=1e-5, abs=1e-7) if isinstance(other, float) else other)
