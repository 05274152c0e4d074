import dataclasses
import inspect
import typing

import lightning.pytorch as pl
import pytest

from visionkit.cli.config.compose import compose
from visionkit.cli.config.layers import Layer
from visionkit.cli.config.schema import check, check_data, recipe_schema
from visionkit.engine.callbacks import make_callbacks
from visionkit.errors import ConfigError
from visionkit.models import models
from visionkit.tasks import Detection

RECIPE = "task: detection\nmodel:\n  name: faster_rcnn\n  backbone: {name: resnet18}\n"


@pytest.fixture
def composed(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return lambda *words: compose([str(path), *words])


def options_of(function):
    """The dataclass that each parameter of a function is annotated with, alone or in a list."""
    hints = typing.get_type_hints(function).items()
    return {name: kind for name, hint in hints for kind in parts(hint) if dataclasses.is_dataclass(kind)}


def parts(hint):
    inside = [part for argument in typing.get_args(hint) for part in parts(argument)]
    return inside or [hint]


def test_every_section_takes_what_its_code_takes(composed):
    schema = recipe_schema(composed())
    options = {**Detection.sections(), **options_of(make_callbacks)}
    del options["proposals"]  # a part of data
    assert options.keys() >= {"ema", "early_stopping", "unfreeze"}
    for key, kind in options.items():
        assert set(schema[key]) == {field.name for field in dataclasses.fields(kind)}
    assert set(schema) == {"task", "seed", "model", "data", "trainer", *options}
    assert set(schema["trainer"]) == set(inspect.signature(pl.Trainer.__init__).parameters) - {"self"}
    network = set(inspect.signature(models.get("faster_rcnn").__init__).parameters) - {"self", "num_classes"}
    assert set(schema["model"]) == network | {"name"}


@pytest.mark.parametrize(
    ("name", "key", "allowed"),
    [
        ("resnet18", "drop_path_rate", False),
        ("densenet121", "memory_efficient", True),
        ("timm/any", "drop_path_rate", True),
    ],
)
def test_a_backbone_takes_its_family_s_options(composed, name, key, allowed):
    recipe = composed(f"model.backbone={name}", f"model.backbone.{key}=0")
    if allowed:
        check(recipe)
    else:
        with pytest.raises(ConfigError, match=f"unknown key model.backbone.{key}"):
            check(recipe)


def test_the_parts_of_a_joined_split_are_checked_one_by_one(composed, tmp_path):
    card = tmp_path / "card.yaml"
    card.write_text("data:\n  format: shapes\n  splits:\n    train:\n    - {count: 3}\n    - {cuont: 3}\n")
    with pytest.raises(ConfigError, match=r"data\.splits\.train\.1\.cuont; did you mean count") as error:
        check(composed(str(card)))
    assert str(error.value).endswith("card.yaml:6")


def test_a_model_of_another_task_is_refused(composed, monkeypatch):
    monkeypatch.setattr("visionkit.cli.config.schema.class_constant", lambda node, name: "segmentation")
    with pytest.raises(ConfigError, match=r"'faster_rcnn' is for the task 'segmentation', not 'detection'\n.*:3"):
        check(composed())


@pytest.mark.parametrize("key", ["task", "model.name", "model.backbone.name", "data.format"])
def test_what_must_be_said_is_asked_for(composed, key):
    with pytest.raises(ConfigError, match=f"does not say {key}"):
        check(composed("data.format=coco", f"{key}="))


def test_a_card_alone_is_checked_without_a_model():
    check_data(Layer({"data": {"format": "coco", "splits": {"train": {"annotations": "a.json"}}}}))
    with pytest.raises(ConfigError, match=r"data\.format: unknown name 'kokko'"):
        check_data(Layer({"data": {"format": "kokko"}}))
    with pytest.raises(ConfigError, match=r"unknown key data\.splits\.train\.annotation; did you mean annotations"):
        check_data(Layer({"data": {"format": "coco", "splits": {"train": {"annotation": "a.json"}}}}))
