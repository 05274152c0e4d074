"""`visionkit compare`: a checkpoint with itself, and with one of other weights."""

import json
import math

import numpy as np
import pytest
import torch

from tests.helpers.small_runs import RECIPES, checkpoints_of
from visionkit.cli.comparing import difference_table, differing_keys, find_changes
from visionkit.cli.main import main
from visionkit.metrics.paired_bootstrap import Comparison, Difference
from visionkit.metrics.results import Interval


@pytest.fixture(scope="module", params=RECIPES)
def checkpoints(request, tmp_path_factory):
    return checkpoints_of(request.param, tmp_path_factory.mktemp(request.param), seeds=(0, 1))


def test_two_checkpoints_are_compared_on_the_same_images(checkpoints, capsys, tmp_path):
    assert main(["compare", *map(str, checkpoints), "--split", "val", "--output", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "images, the second is better on" in printed
    found = json.loads((tmp_path / "comparison.json").read_text())
    assert found["recipe"] == {"seed": [0, 1]}
    assert found["images"] == 3
    assert len(found["better"]) + len(found["worse"]) <= 3
    assert {"first", "second", "difference", "interval", "p", "images_needed", "significant"} == set(
        next(iter(found["overall"].values()))
    )


def test_a_checkpoint_does_not_differ_from_itself(checkpoints, capsys, tmp_path):
    words = [str(checkpoints[0])] * 2
    assert main(["compare", *words, "--split", "val", "--output", str(tmp_path)]) == 0
    assert "the recipes are the same" in capsys.readouterr().out
    found = json.loads((tmp_path / "comparison.json").read_text())
    assert all(entry["difference"] == 0 and entry["p"] == 1 for entry in found["overall"].values())
    assert found["better"] == found["worse"] == []


def test_both_are_scored_by_the_metrics_of_the_first(tmp_path, tmp_path_factory):
    """AP50 of COCO and of VOC are different numbers."""
    (first,), (second,) = (checkpoints_of("detection", tmp_path_factory.mktemp(name)) for name in ("coco", "voc"))
    description = torch.load(second, weights_only=True)
    description["visionkit"]["evaluation"] = description["visionkit"]["recipe"]["evaluation"] = {"metric": "voc07"}
    torch.save(description, second)
    assert main(["compare", str(first), str(second), "--split", "val", "--output", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "comparison.json").read_text())
    assert {"AP", "AP50", "voc07_AP50"} <= set(found["overall"])
    assert found["recipe"] == {"evaluation.metric": [None, "voc07"]}
    assert all(entry["difference"] == 0 for entry in found["overall"].values())


def test_masks_of_a_model_without_masks_are_not_scored(tmp_path, capsys):
    (checkpoint,) = checkpoints_of("detection", tmp_path)
    assert main(["validate", str(checkpoint), "evaluation.metric=coco_masks"]) == 2
    assert "evaluation.metric=coco, which scores the boxes" in capsys.readouterr().err


def test_boxes_on_an_image_without_objects_make_it_worse():
    """Nothing is predicted on image 0 by the first model, on image 1 by the second one, and on image 2 by both."""
    scores = np.array([[math.nan, 0.0, math.nan], [0.0, math.nan, math.nan]])
    changes = find_changes(Comparison({}, {}, scores, [0, 1, 2]))
    assert changes.worse == [(0, 1.0, 0.0)]
    assert changes.better == [(1, 0.0, 1.0)]


def test_a_lower_calibration_error_is_better():
    found = Difference(0.3, 0.1, -0.2, Interval(-0.3, -0.1), 0.01, None)
    assert [row.style for row in difference_table({"calibration_error": found, "top1": found}, "", "").rows] == [
        "green",
        "red",
    ]


def test_other_tasks_cannot_be_compared(checkpoints, capsys, tmp_path):
    kind = "segmentation" if "segmentation" not in str(checkpoints[0]) else "detection"
    (other,) = checkpoints_of(kind, tmp_path, seeds=(0,))
    assert main(["compare", str(checkpoints[0]), str(other), "--split", "val", "--output", str(tmp_path)]) == 2
    assert "give two of the same task" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["missing.ckpt", "missing.ckpt"], "there is no checkpoint"),
        (["a.ckpt", "b.ckpt", "model.name=x"], "model.name"),
    ],
)
def test_bad_words_are_answered_at_once(words, message, capsys):
    assert main(["compare", *words]) == 2
    assert message in capsys.readouterr().err


def test_differing_keys_of_recipes():
    first = {"model": {"name": "unet", "width": 4}, "seed": 0, "ema": {}}
    second = {"model": {"name": "unet", "width": 8}, "seed": 0, "schedule": {"name": "cosine"}}
    assert differing_keys(first, second) == {
        "model.width": (4, 8),
        "ema": ({}, None),
        "schedule.name": (None, "cosine"),
    }
