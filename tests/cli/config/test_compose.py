import dataclasses
import inspect

import pytest

from visionkit.cli.config.compose import (
    FROM_CHECKPOINT,
    SOURCE_FROM_CHECKPOINT,
    compose,
    find_file,
    shipped_files,
)
from visionkit.data.datamodule import VisionData
from visionkit.data.proposals.proposal_source import ProposalOptions
from visionkit.errors import ConfigError

RECIPE = (
    "task: detection\nmodel: {name: faster_rcnn, backbone: {name: resnet18, batch_norm: eval}}\noptimizer: {lr: 0.1}\n"
)


@pytest.fixture
def files(tmp_path):
    def write(**texts):
        for name, text in texts.items():
            (tmp_path / f"{name}.yaml").write_text(text)
        return [str(tmp_path / f"{name}.yaml") for name in texts]

    return write


def test_layers_are_laid_from_left_to_right(files):
    recipe, card = files(recipe=RECIPE, card="data: {format: voc}\noptimizer: {lr: 0.2, momentum: 0.5}\n")
    values = compose([recipe, card, "optimizer.momentum=0.7"]).values
    assert values["optimizer"] == {"lr": 0.2, "momentum": 0.7}
    assert values["data"] == {"format": "voc"}


def test_without_a_card_the_data_is_shapes(files):
    assert compose(files(recipe=RECIPE)).values["data"]["format"] == "shapes"


def test_another_card_replaces_the_source_of_the_first_but_not_the_batch(files):
    one = "data: {format: shapes, splits: {train: {count: 3}}, batch_size: 3}"
    words = files(recipe=RECIPE, one=one, two="data: {format: voc, root: x}")
    assert compose(words).values["data"] == {"format": "voc", "root": "x", "batch_size": 3}


def test_a_base_lies_below_its_file(files):
    recipe, _ = files(recipe="base: below.yaml\n" + RECIPE, below="optimizer: {lr: 9, name: adam}\nseed: 3\n")
    values = compose([recipe, "data.format=voc"]).values
    assert values["optimizer"] == {"lr": 0.1, "name": "adam"}
    assert values["seed"] == 3
    assert "base" not in values


def test_circles_and_missing_bases_are_refused(files):
    one, _ = files(one="base: two.yaml\n", two="base: one.yaml\n")
    with pytest.raises(ConfigError, match="circle"):
        compose([one])
    with pytest.raises(ConfigError, match="does not exist"):
        compose(files(three="base: gone.yaml\n"))


def test_a_backbone_s_name_is_enough(files):
    (recipe,) = files(recipe=RECIPE)
    values = compose([recipe, "model.backbone=densenet121"]).values
    assert values["model"]["backbone"] == {"name": "densenet121", "batch_norm": "eval"}


def test_sections_for_the_model_or_task_are_laid_below_overrides(files):
    section = "for:\n  faster_rcnn: {optimizer: {lr: 1, momentum: 2}}\n  detection: {seed: 2}\n"
    recipe, card = files(recipe=RECIPE, card="data: {format: voc}\n" + section)
    layer = compose([recipe, card, "optimizer.momentum=3"])
    assert layer.values["optimizer"] == {"lr": 1, "momentum": 3}
    assert layer.values["seed"] == 2
    assert "for" not in layer.values
    assert layer.origin(("optimizer", "lr")).endswith("card.yaml:3")
    assert layer.origin(("optimizer", "momentum")) == "the command line"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: 3\n", "data must hold .*, not 3\n  .*wrong.yaml:1"),
        ("data: [1]\n", "data must hold"),
        ("model: faster_rcnn\n", "model must hold .*, not 'faster_rcnn'"),
        ("base: 3\n", "base: takes a file"),
        ("base: {a: 1}\n", "base: takes a file"),
        ("seed: 1\nfor: 3\n", "for must hold .*\n.*:2"),
        ("for: {detection: 3}\n", "for.detection must hold"),
        ("for:\n  faster_rcn: {seed: 1}\n", "'faster_rcn' is no task or model; did you mean faster_rcnn?.*\n.*:2"),
    ],
)
def test_sections_of_the_wrong_kind_are_refused(files, text, message):
    recipe, wrong = files(recipe=RECIPE, wrong=text)
    with pytest.raises(ConfigError, match=message):
        compose([recipe, wrong])


def test_empty_sections_are_as_if_they_were_not_there(files):
    recipe, card = files(recipe=RECIPE, card="data:\nfor: {detection: }\n")
    assert compose([recipe, card]).values["data"]["format"] == "shapes"


def test_a_format_on_the_command_line_takes_the_place_of_a_card(files):
    (recipe,) = files(recipe=RECIPE + "data: {batch_size: 3}\n")
    words = [recipe, "data.format=voc", "data.root=x"]
    assert compose(words).values["data"] == {"batch_size": 3, "format": "voc", "root": "x"}
    before = {"data": {"format": "shapes", "splits": {"train": {"count": 3}}, "batch_size": 2}}
    assert compose(["data.format=voc"], onto=before).values["data"] == {"batch_size": 2, "format": "voc"}
    assert compose(["data.format=shapes"], onto=before).values == before


def test_a_checkpoint_s_trainer_runs_no_code():
    trainer = {
        "precision": "bf16-mixed",
        "devices": 8,
        "callbacks": "evil.Callback",
        "logger": {"class_path": "evil.X"},
    }
    before = {"data": {"format": "voc"}, "trainer": trainer}
    assert compose([], onto=before).values["trainer"] == {"precision": "bf16-mixed"}
    assert compose(["trainer.devices=2"], onto=before).values["trainer"] == {"precision": "bf16-mixed", "devices": 2}
    assert len(before["trainer"]) == 4, "the recipe given stays as it is"


def test_every_option_of_the_data_is_either_taken_from_a_checkpoint_or_not():
    """A new option must be decided: does it name a file that is written, a process, a device or a download?"""
    left_out = {"download", "num_workers", "augment", "min_visibility", "sampling", "stream"}
    options = {*inspect.signature(VisionData).parameters} - {"required"}
    assert options == {*SOURCE_FROM_CHECKPOINT, *left_out}
    assert FROM_CHECKPOINT["data"] == {
        **SOURCE_FROM_CHECKPOINT,
        "cards": {"*": {**SOURCE_FROM_CHECKPOINT, "heads": None}},
    }
    options = {field.name for field in dataclasses.fields(ProposalOptions)}
    assert options == {*FROM_CHECKPOINT["data"]["proposals"], "folder"}


def test_nothing_that_writes_downloads_or_costs_is_taken_from_a_checkpoint():
    described = {
        "task": "detection",
        "model": {"name": "rcnn"},
        "inference": {"flip": True},
        "evaluation": {"metric": "x"},
    }
    read = {"format": "voc", "root": "/data", "splits": {"val": {}}, "classes": ["a"], "batch_size": 2}
    evil = {
        "plugins": ["evil.py"],
        "after_training": {"folder": "/evil"},
        "feature_cache": {"folder": "/evil"},
        "callbacks": "evil",
        "optimizer": {"lr": 1},
        "seed": 3,
    }
    data = {
        **read,
        "num_workers": 10**6,
        "download": [{"url": "http://evil"}],
        "augment": [{"name": "Evil"}],
        "proposals": {"mode": "fast", "count": 9, "file": "found.npz", "folder": "/evil"},
    }
    values = compose([], onto={**described, **evil, "data": data}).values
    assert values == {**described, "data": {**read, "proposals": {"mode": "fast", "count": 9, "file": "found.npz"}}}
    words = ["data.proposals.folder=mine", "data.num_workers=1"]
    values = compose(words, onto={**described, "data": data}).values["data"]
    assert (values["proposals"]["folder"], values["num_workers"]) == ("mine", 1)


def test_a_section_may_be_for_a_model_on_one_backbone(files):
    section = (
        "for:\n  faster_rcnn: {seed: 1}\n  faster_rcnn/resnet18: {seed: 2, model: {backbone: {batch_norm: trained}}}\n"
    )
    recipe, card = files(recipe=RECIPE, card="data: {format: voc}\n" + section)
    values = compose([recipe, card]).values
    assert (values["seed"], values["model"]["backbone"]["batch_norm"]) == (2, "trained")
    values = compose([recipe, card, "model.backbone=resnet50"]).values
    assert (values["seed"], values["model"]["backbone"]) == (1, {"name": "resnet50", "batch_norm": "eval"})


def test_the_model_of_the_command_line_chooses_the_sections(files):
    recipe, card = files(recipe=RECIPE.replace("faster_rcnn", "x"), card="for: {faster_rcnn: {seed: 4}}\n")
    assert "seed" not in compose([recipe, card, "data.format=voc"]).values
    assert compose([recipe, card, "data.format=voc", "model.name=faster_rcnn"]).values["seed"] == 4


def test_shipped_files_are_found_by_name_and_unknown_ones_get_a_hint():
    assert find_file("faster_rcnn_resnet50").name == "faster_rcnn_resnet50.yaml"
    with pytest.raises(ConfigError, match="did you mean faster_rcnn_resnet50"):
        find_file("recipes/faster_rcn_resnet50.yaml")


def test_fragments_are_not_listed():
    assert all("_base" not in path.parts for path in shipped_files("recipes"))


def test_a_base_that_no_file_can_have_is_missing(files):
    (recipe,) = files(recipe=f"base: {'x' * 260}\n")
    with pytest.raises(ConfigError, match=r"base: x+ does not"):  # the rest of the long line may be left out
        compose([recipe])


@pytest.mark.parametrize("name", ["a\\0b.py", "loop/a.py", "x" * 300 + ".py"])
def test_a_plugin_that_no_file_can_be_is_refused(files, name, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    (recipe,) = files(recipe=f'plugins: ["{name}"]\n')
    with pytest.raises(ConfigError, match=r"plugins: .*\n.*recipe\.yaml:1"):
        compose([recipe])
