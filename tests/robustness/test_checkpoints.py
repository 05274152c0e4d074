"""Damaged checkpoints; see `tests/robustness/cases/checkpoints.py`."""

import copy

import pytest
import torch
from hypothesis import given
from PIL import Image

import visionkit as vk
from tests.robustness import boundary
from tests.robustness.boundary import run_here, sandbox
from tests.robustness.cases.models import content
from tests.robustness.checks import QUICK, RANDOM, SLOW, ends_well, many_end_well
from visionkit.errors import CheckpointError


@QUICK
@given(rng=RANDOM)
def test_a_few_cases(rng):
    ends_well("checkpoints", rng)


@pytest.mark.slow
@SLOW
@given(rng=RANDOM)
def test_many_cases(rng):
    many_end_well("checkpoints", rng)


CALL = {"class_path": "os.mkdir", "init_args": {"path": "../canary"}}
PLACES = [
    "data.splits.val.count",
    "data.splits.val",
    "data.classes",
    "data.proposals.mode",
    "model.head",
    "trainer.precision",
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("command", ["test", "validate"])
def test_a_recipe_in_a_checkpoint_runs_no_code(place, command, tmp_path):
    """jsonargparse calls what a `class_path` names, wherever a value has the type `Any`."""
    inside = sandbox(tmp_path / "run")
    made = copy.deepcopy(content("classification"))
    *around, last = place.split(".")
    parent = made["visionkit"]["recipe"]
    for key in around:
        parent = parent.setdefault(key, {})
    parent[last] = CALL
    torch.save(made, inside / "best.ckpt")
    ending = run_here(lambda: boundary.command([command, "best.ckpt", "data.num_workers=0"]), inside)
    assert ending.kind == "refused", ending


OF_TAGS = content("multi")["visionkit"]["heads"]["tags"]
OF_OBJECTS = content("multi")["visionkit"]["heads"]["objects"]
HEADS = {
    "missing": (None, "its heads are missing"),
    "a number": (3, "heads is 3, and must be"),
    "a list": (["objects", "tags"], "heads is .*and must be"),
    "empty": ({}, "its heads are missing"),
    "numbers": ({"objects": 3, "tags": 4}, "heads.objects is 3, and must be a description"),
    "keys that are no names": ({1: OF_OBJECTS, 2: OF_TAGS}, "heads is .*and must be"),
    "without content": ({"objects": {}, "tags": {}}, "task is None"),
    "one too few": ({"objects": OF_OBJECTS}, "its heads are objects, and its network has others"),
    "one too many": ({"objects": OF_OBJECTS, "tags": OF_TAGS, "x": OF_TAGS}, "its heads are objects, tags, x"),
    "another name": ({"objects": OF_OBJECTS, "labels": OF_TAGS}, "its heads are objects, labels"),
    "exchanged": ({"objects": OF_TAGS, "tags": OF_OBJECTS}, "must be a ClassificationModel, not FasterRCNN"),
    "an unknown task": ({"objects": OF_OBJECTS, "tags": {**OF_TAGS, "task": "x"}}, "unknown task 'x'"),
    "another task": ({"objects": OF_OBJECTS, "tags": {**OF_TAGS, "task": "detection"}}, "preprocess has the option"),
    "nested": ({"objects": OF_OBJECTS, "tags": {**OF_TAGS, "task": "multi"}}, "its heads are missing"),
    "without classes": ({"objects": OF_OBJECTS, "tags": {**OF_TAGS, "class_names": None}}, "class_names is None"),
    "wrong options": ({"objects": OF_OBJECTS, "tags": {**OF_TAGS, "inference": {"flip": 3}}}, "inference.flip is 3"),
}


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("read", [vk.load, vk.MultiTask.load_from_checkpoint], ids=["load", "task"])
def test_heads_that_are_not_those_of_the_network_are_refused(name, read, tmp_path):
    heads, message = HEADS[name]
    made = copy.deepcopy(content("multi"))
    if heads is None:
        del made["visionkit"]["heads"]
    else:
        made["visionkit"]["heads"] = copy.deepcopy(heads)
    torch.save(made, tmp_path / "best.ckpt")
    with pytest.raises(CheckpointError, match=message) as error:
        read(tmp_path / "best.ckpt")
    assert "best.ckpt" in str(error.value)
    assert len(str(error.value).splitlines()) <= 5


@pytest.mark.parametrize("heads", [None, 3, [], {}, {"objects": 3}, {"objects": {}}, {"tags": {"name": "x"}}])
def test_a_network_of_broken_heads_is_refused(heads, tmp_path):
    made = copy.deepcopy(content("multi"))
    made["visionkit"]["model"]["heads"] = heads
    torch.save(made, tmp_path / "best.ckpt")
    with pytest.raises(CheckpointError, match="its multi cannot be built here"):
        vk.load(tmp_path / "best.ckpt")


@pytest.mark.parametrize("task", ["detection", "multi"])
def test_weights_that_a_checkpoint_names_are_not_read(task, tmp_path, monkeypatch):
    made = copy.deepcopy(content(task))
    (tmp_path / "secret").write_text("secret")
    model = made["visionkit"]["model"]
    (model["heads"]["tags"] if task == "multi" else model)["weights"] = str(tmp_path / "secret")
    torch.save(made, tmp_path / "best.ckpt")
    assert vk.load(tmp_path / "best.ckpt").task == task


PLACES_OF_CARDS = ["splits.val.count", "splits", "classes", "heads", "proposals.mode"]


@pytest.mark.parametrize("place", PLACES_OF_CARDS)
def test_a_card_in_a_checkpoint_of_several_heads_runs_no_code(place, tmp_path):
    inside = sandbox(tmp_path / "run")
    made = copy.deepcopy(content("multi"))
    *around, last = place.split(".")
    parent = made["visionkit"]["recipe"]["data"]["cards"]["all"]
    for key in around:
        parent = parent.setdefault(key, {})
    parent[last] = CALL
    torch.save(made, inside / "best.ckpt")
    ending = run_here(lambda: boundary.command(["validate", "best.ckpt", "data.num_workers=0"]), inside)
    assert ending.kind == "refused", ending


RECIPES = {
    "model": None,
    "model.backbone": 3,
    "model.heads": 3,
    "model.heads.tags": [],
    "model.heads.tags.name": 3,
    "heads": 3,
    "heads.tags": 3,
    "heads.tags.evaluation": [1],
    "data": 3,
    "data.cards": 3,
    "data.cards.all": 3,
    "data.cards.all.format": ["x"],
    "data.cards.all.heads": {"x": 1},
    "evaluation.reference": {"tags": "x"},
}


@pytest.mark.parametrize("place", RECIPES)
def test_a_broken_recipe_of_several_heads_is_refused(place, tmp_path):
    inside = sandbox(tmp_path / "run")
    made = copy.deepcopy(content("multi"))
    *around, last = place.split(".")
    parent = made["visionkit"]["recipe"]
    for key in around:
        parent = parent.setdefault(key, {})
    parent[last] = RECIPES[place]
    torch.save(made, inside / "best.ckpt")
    words = ["data.num_workers=0", "trainer.accelerator=cpu"]
    ending = run_here(lambda: boundary.command(["validate", "best.ckpt", *words]), inside)
    assert ending.kind == "refused", ending
    assert "give the card that the model was trained on" not in ending.detail, "as without the damage"


@pytest.mark.parametrize("name", ["../../canary", "/canary", "a/b", "..", "a.b", "", "type", "keys", "training"])
@pytest.mark.parametrize("command", ["validate", "predict"])
def test_the_name_of_a_head_is_no_path(name, command, tmp_path):
    """Files of results have the names of the heads in front."""
    inside = sandbox(tmp_path / "run")
    Image.new("RGB", (32, 32)).save(inside / "a.png")
    ending = run_here(lambda: with_renamed_head(name, command), inside)
    assert ending.kind == "refused", ending
    assert "cannot be the name of a head" in ending.detail


def with_renamed_head(name, command):
    made = copy.deepcopy(content("multi"))
    described, recipe = made["visionkit"], made["visionkit"]["recipe"]
    for heads in (described["heads"], described["model"]["heads"], recipe["model"]["heads"]):
        heads[name] = heads.pop("tags")
    recipe["data"]["cards"]["all"]["heads"] = ["objects", name]
    described["class_names"] = [class_name.replace("tags/", f"{name}/") for class_name in described["class_names"]]
    made["state_dict"] = {key.replace(".tags.", f".{name}."): value for key, value in made["state_dict"].items()}
    torch.save(made, "best.ckpt")
    words = ["a.png", "--output", "out"] if command == "predict" else ["data.num_workers=0", "trainer.accelerator=cpu"]
    boundary.command([command, "best.ckpt", *words])
