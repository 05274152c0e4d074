"""`visionkit compare`: a checkpoint with itself, and with one of other weights."""

import json

import pytest

from tests.helpers.small_runs import RECIPES, checkpoints_of
from visionkit.cli.comparing import differing_keys
from visionkit.cli.main import main


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
