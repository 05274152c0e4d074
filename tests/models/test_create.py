import ast
import inspect
from dataclasses import dataclass
from pathlib import Path

import pytest
from torch import nn

import visionkit.models
from visionkit.errors import ConfigError
from visionkit.models import create_model, models
from visionkit.models.base import Model
from visionkit.models.create import ModelRegistry


class FakeBackbone(nn.Module):
    @property
    def spec(self):
        return {"name": "fake"}


def make_registry():
    registry = ModelRegistry("model")

    @registry.register("toy")
    class Toy(Model):
        def __init__(self, backbone, num_classes, *, sizes=(1, (2, 3)), width: int = 4):
            super().__init__()
            self.backbone, self.num_classes = backbone, num_classes

    return registry, Toy


def test_spec_holds_every_argument_as_primitives():
    _, toy = make_registry()
    assert toy(FakeBackbone(), 5, width=6).spec == {
        "name": "toy",
        "num_classes": 5,
        "sizes": [1, [2, 3]],
        "width": 6,
        "backbone": {"name": "fake"},
    }


def test_signature_stays_visible():
    _, toy = make_registry()
    assert list(inspect.signature(toy).parameters) == ["backbone", "num_classes", "sizes", "width"]


def test_a_subclass_without_a_name_does_not_pass_for_its_parent():
    _, toy = make_registry()

    class Other(toy):
        pass

    assert Other(FakeBackbone(), 5).spec is None


def test_unknown_model_points_to_the_near_one():
    with pytest.raises(ConfigError, match="did you mean faster_rcnn"):
        create_model("faster_rcn", FakeBackbone(), 3)


def test_every_decorator_in_the_source_is_registered():
    """`visionkit list` reads the decorators' literals; all modules must have been imported for the same set."""
    names = set()
    for path in Path(visionkit.models.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            for decorator in getattr(node, "decorator_list", []):
                if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "models.register":
                    names |= {argument.value for argument in decorator.args}
    assert names == set(models)
    assert "faster_rcnn" in names


def test_every_model_names_its_task():
    assert all(isinstance(models.get(name).task, str) for name in models)


@dataclass(frozen=True)
class Group:
    ratios: tuple[float, ...] = (1.0,)
    number: int = 3


@pytest.fixture
def grouped(monkeypatch):
    registry = ModelRegistry("model")

    @registry.register("grouped")
    class Grouped(Model):
        def __init__(self, backbone, num_classes, *, group=Group(number=7)):
            super().__init__()
            self.backbone, self.num_classes, self.group = backbone, num_classes, group

    monkeypatch.setattr("visionkit.models.create.models", registry)
    return Grouped


def test_a_group_of_options_is_a_dict_in_the_spec_and_a_dataclass_in_the_model(grouped):
    model = grouped(FakeBackbone(), 5, group=Group((0.5, 2.0)))
    assert model.spec["group"] == {"ratios": [0.5, 2.0], "number": 3}
    again = create_model("grouped", FakeBackbone(), 5, group=model.spec["group"])
    assert again.group == model.group
    assert create_model("grouped", FakeBackbone(), 5, group=Group((3.0,))).group == Group((3.0,))


def test_missing_options_of_a_group_keep_the_models_defaults(grouped):
    assert create_model("grouped", FakeBackbone(), 5, group={"ratios": [0.5]}).group == Group((0.5,), 7)
    with pytest.raises(ConfigError, match=r"group has no option 'numbr'.*number"):
        create_model("grouped", FakeBackbone(), 5, group={"numbr": 1})


def test_an_unknown_option_points_to_the_nearest(grouped):
    with pytest.raises(ConfigError, match="grouped has no option 'grup'; did you mean group"):
        create_model("grouped", FakeBackbone(), 5, grup={})
    assert create_model("grouped", FakeBackbone(), 5).group == Group(number=7)


def test_options_that_are_passed_to_the_base_class_are_known(grouped):
    @visionkit.models.create.models.register("passing")
    class Passing(grouped):
        def __init__(self, backbone, num_classes, *, width=2, **options):
            super().__init__(backbone, num_classes, **options)

    model = create_model("passing", FakeBackbone(), 5, width=3, group={"ratios": [2.0]})
    assert model.group == Group((2.0,), 7)
    assert (model.spec["width"], model.spec["group"]["number"]) == (3, 7)
    with pytest.raises(ConfigError, match="no option 'widht'"):
        create_model("passing", FakeBackbone(), 5, widht=3)
