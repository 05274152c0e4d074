import ast
import inspect
import sys

import pytest

from visionkit.backbones import create_backbone
from visionkit.cli.config import python_source
from visionkit.cli.config.python_source import (
    Definition,
    Expression,
    Variable,
    definition,
    find_module,
    member,
    resolve,
)
from visionkit.data.datamodule import VisionData
from visionkit.models import models
from visionkit.tasks.optimizers import OptimizerOptions


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("visionkit.backbones.create", create_backbone),
        ("visionkit.data.datamodule", VisionData),
        ("visionkit.tasks.optimizers", OptimizerOptions),
    ],
)
def test_parameters_are_those_of_the_imported_code(module, imported):
    found = definition(module, imported.__name__)
    taken = inspect.signature(imported).parameters.values()
    assert list(python_source.parameters(found)) == [given.name for given in taken if given.kind != given.VAR_KEYWORD]
    assert python_source.takes_any(found) == any(given.kind == given.VAR_KEYWORD for given in taken)


def test_a_class_without_a_constructor_has_that_of_its_base():
    found = definition("visionkit.models.segmentation.fcn", "FCN8s")
    expected = list(inspect.signature(models.get("fcn8s")).parameters)
    assert list(python_source.parameters(found)) == expected != []
    assert python_source.class_constant(found, "task") == "segmentation"


def test_a_class_that_passes_keywords_on_has_those_of_its_base():
    found = definition("visionkit.models.detection.mask_rcnn", "MaskRCNN")
    assert python_source.parameters(found).keys() >= {"mask_channels", "nms", "anchors"}
    assert python_source.class_constant(found, "task") == "detection"


FILES = {
    "made_up/__init__.py": """
from typing import TYPE_CHECKING
from made_up.shapes import *
from made_up.shapes import Square as Box
if TYPE_CHECKING:
    from .options import Options
""",
    "made_up/shapes.py": """
from typing import ClassVar, TypedDict
import dataclasses
import made_up.options as choices
from made_up.options import Options as First

@dataclasses.dataclass(frozen=True)
class Shape:
    kind: ClassVar[str] = "shape"
    color: str = "red"
    area: float = dataclasses.field(default=0.0, init=False)

class Square(Shape):
    pass

@dataclasses.dataclass
class Rectangle(Shape):
    width: int = 1

class Parts(TypedDict):
    first: int

alias = choices.Options
size = choices.number()
""",
    "made_up/options.py": """
class Options:
    'Another class of this name is in the package.'
""",
    "made_up/a/__init__.py": "",
    "made_up/a/options.py": "class Options: ...",
}


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """A package on the import path that is never imported."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    for cached in (find_module, member):
        cached.cache_clear()
    yield find_module("made_up")
    assert "made_up" not in sys.modules
    for cached in (find_module, member):
        cached.cache_clear()


def meaning(module, text):
    return resolve(Expression(find_module(module), ast.parse(text, mode="eval").body))


@pytest.mark.parametrize(
    ("module", "text", "defined_in"),
    [
        ("made_up", "Shape", "made_up.shapes"),
        ("made_up", "Box", "made_up.shapes"),
        ("made_up", "Options", "made_up.options"),
        ("made_up", "a.options.Options", "made_up.a.options"),
        ("made_up.shapes", "First", "made_up.options"),
        ("made_up.shapes", "choices.Options", "made_up.options"),
        ("made_up.shapes", "alias", "made_up.options"),
    ],
)
def test_a_name_is_resolved_through_the_imports_of_its_module(made_up, module, text, defined_in):
    found = meaning(module, text)
    assert isinstance(found, Definition)
    assert found.module.name == defined_in


@pytest.mark.parametrize("text", ["gone", "Shape.gone", "made_up.gone", "size.x", "1", "f(x)"])
def test_what_is_not_found_has_no_meaning(made_up, text):
    assert meaning("made_up.shapes", text) is None


def test_variables_and_modules_are_distinguished(made_up):
    assert isinstance(meaning("made_up.shapes", "size"), Variable)
    assert meaning("made_up", "a").name == "made_up.a"


def test_fields_of_dataclasses_and_typed_dicts(made_up):
    fields = {
        name: list(python_source.parameters(definition("made_up.shapes", name))) for name in ("Rectangle", "Parts")
    }
    assert fields == {"Rectangle": ["color", "width"], "Parts": ["first"]}
    assert python_source.has_fields(definition("made_up.shapes", "Square"))
    assert not python_source.has_fields(definition("made_up.options", "Options"))
    with pytest.raises(LookupError, match=r"made_up\.options has no gone"):
        definition("made_up.options", "gone")
