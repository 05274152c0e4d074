import ast
import dataclasses
import inspect
import typing

import lightning.pytorch as pl
import pytest

from visionkit.cli.config.compose import compose
from visionkit.cli.config.merge import Layer
from visionkit.cli.config.python_source import Expression, Module
from visionkit.cli.config.schema import (
    Section,
    _check_keys,
    _transform_section,
    check,
    check_data,
    recipe_section,
    section_of,
)
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
    section = recipe_section(composed())
    options = {**Detection.sections(), **options_of(make_callbacks)}
    del options["proposals"]  # a section of data
    assert options.keys() >= {"ema", "early_stopping", "unfreeze"}
    for key, kind in options.items():
        assert set(section.keys[key].keys) == {field.name for field in dataclasses.fields(kind)}
    assert set(section.keys) == {"task", "seed", "plugins", "model", "data", "logger", "trainer", *options}
    trainer = set(inspect.signature(pl.Trainer.__init__).parameters) - {"self"}
    assert set(section.keys["trainer"].keys) == trainer
    network = set(inspect.signature(models.get("faster_rcnn").__init__).parameters) - {"self", "num_classes"}
    assert set(section.keys["model"].keys) == network | {"name"}


TYPES = """
from __future__ import annotations
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Optional, TypedDict, Union

@dataclass
class Inner:
    share: float = 0.5

@dataclasses.dataclass
class Outer:
    inner: Inner = Inner()
    again: Outer | None = None

class Parts(TypedDict, total=False):
    first: Inner

Alias = Inner | None

class Options:
    pass
"""


@pytest.mark.parametrize(
    ("annotation", "keys"),
    [
        ("Inner", {"share": None}),
        ("Inner | None", {"share": None}),
        ("Optional[Inner]", {"share": None}),
        ("Union[Inner, None]", {"share": None}),
        ("Annotated[Inner, 'about it']", {"share": None}),
        ("'Inner | None'", {"share": None}),
        ("Alias", {"share": None}),
        ("list[Inner]", {"share": None}),
        ("Sequence[Inner] | None", {"share": None}),
        ("tuple[Inner, ...]", {"share": None}),
        ("Outer", {"inner": {"share": None}, "again": None}),
        ("Parts", {"first": {"share": None}}),
        ("dict[str, Inner]", {"*": {"share": None}}),
        ("Mapping[str, list[Outer]]", {"*": {"inner": {"share": None}, "again": None}}),
        ("Inner | Outer", {"share": None, "inner": {"share": None}, "again": None}),
        ("dict[str, Any]", None),
        ("Literal['Inner']", None),
        ("Options", None),
        ("list[int]", None),
        ("Unknown", None),
    ],
)
def test_annotations_are_followed_into_dataclasses(annotation, keys, tmp_path):
    path = tmp_path / "types_of_options.py"
    path.write_text(TYPES)
    module = Module("types_of_options", path)
    found = section_of(Expression(module, ast.parse(annotation, mode="eval").body))
    assert as_dict(found) == keys


def as_dict(section):
    if section is None:
        return None
    return {**{name: as_dict(inside) for name, inside in section.keys.items()}} | (
        {"*": as_dict(section.inside)} if section.more else {}
    )


def test_a_union_with_another_type_also_takes_a_value():
    section = Section({"optimizer": Section({"share": None}, required=False)})
    _check_keys({"optimizer": "sgd"}, section, (), Layer())
    with pytest.raises(ConfigError, match=r"unknown key optimizer\.shar"):
        _check_keys({"optimizer": {"shar": 1}}, section, (), Layer())


DEEP = {
    "data.holdout.fracton=1": "data.holdout.fracton; did you mean fraction?",
    "data.proposals.mod=x": "data.proposals.mod; did you mean mode?",
    "model.nms.iuo=1": "model.nms.iuo; did you mean iou?",
    "model.rpn.batchsize=1": "model.rpn.batchsize; did you mean batch_size_per_image?",
    "data.augment=[{name: HorizontalFlip, q: 1}]": "data.augment.0.q; known: name, p",
    "data.augment=[{name: ScaleJitter, min_sid: 1}]": "data.augment.0.min_sid; did you mean min_side or max_side?",
    "data.splits.train.cuont=3": "data.splits.train.cuont; did you mean count?",
    "unfreeze=[{epoch: 1}, {epch: 2}]": "unfreeze.1.epch; did you mean epoch?",
    "unfreeze={epch: 2}": "unfreeze.epch; did you mean epoch?",
}


@pytest.mark.parametrize("word", DEEP)
def test_keys_are_checked_at_every_depth(composed, word):
    with pytest.raises(ConfigError) as error:
        check(composed(word))
    message = str(error.value)
    assert f"unknown key {DEEP[word]}" in message
    assert message.endswith("\n  the command line")


def test_a_transform_takes_the_arguments_of_its_class(composed):
    from visionkit.data.transforms.create import _albumentations_transforms

    for name, kind in _albumentations_transforms().items():
        static = _transform_section({"name": name})
        taken = inspect.signature(kind.__init__).parameters.values()
        arguments = {given.name for given in taken if given.kind not in (given.VAR_KEYWORD, given.VAR_POSITIONAL)}
        if static is not None:
            assert set(static.keys) - {"name", "self"} == arguments - {"self", "name"}, name
    assert _transform_section({"name": "HorizontalFlip"}) is not None
    check(composed("data.augment=[{name: Unknown, p: 1}]"))  # refused when albumentations is imported


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
    monkeypatch.setattr("visionkit.cli.config.python_source.class_constant", lambda found, name: "segmentation")
    with pytest.raises(ConfigError, match=r"'faster_rcnn' is for the task 'segmentation', not 'detection'\n.*:3"):
        check(composed())


@pytest.mark.parametrize("key", ["task", "model.name", "model.backbone.name", "data.format"])
def test_missing_names_are_asked_for(composed, key):
    with pytest.raises(ConfigError, match=f"{key} is missing in the recipe"):
        check(composed("data.format=coco", f"{key}="))


def test_a_card_alone_is_checked_without_a_model():
    check_data(Layer({"data": {"format": "coco", "splits": {"train": {"annotations": "a.json"}}}}))
    with pytest.raises(ConfigError, match=r"data\.format: unknown name 'kokko'"):
        check_data(Layer({"data": {"format": "kokko"}}))
    with pytest.raises(ConfigError, match=r"unknown key data\.splits\.train\.annotation; did you mean annotations"):
        check_data(Layer({"data": {"format": "coco", "splits": {"train": {"annotation": "a.json"}}}}))


@pytest.mark.parametrize("word", ["optimizer=[{lr: 1}]", "trainer=[{max_epochs: 1}]", "model.nms=[{iou: 0.5}]"])
def test_a_list_is_refused_where_one_mapping_is_expected(word, composed):
    with pytest.raises(ConfigError, match="must hold keys"):
        check(composed(word))


def test_the_name_of_a_transform_can_be_longer_than_that_of_a_file(composed):
    check(composed(f"data.augment=[{{name: {'x' * 300}}}]"))  # refused when albumentations is imported
