import inspect
import os

import pytest

from visionkit.backbones import backbones, create_backbone
from visionkit.cli.config import catalogue
from visionkit.cli.config.compose import compose
from visionkit.cli.config.schema import check
from visionkit.data.datamodule import VisionData
from visionkit.data.datasets.base import formats
from visionkit.metrics.detection import detection_metrics
from visionkit.models import models
from visionkit.tasks import tasks
from visionkit.tasks.optimizers import OptimizerOptions, optimizers, schedules

REGISTRIES = {
    "backbones": backbones,
    "formats": formats,
    "detection_metrics": detection_metrics,
    "models": models,
    "optimizers": optimizers,
    "schedules": schedules,
    "tasks": tasks,
}


@pytest.mark.parametrize("name", REGISTRIES)
def test_the_source_tells_what_the_registries_hold(name):
    told = set(catalogue.registered(name))
    if name == "metrics":  # the two forms of VOC's AP are entered in a loop over literal names
        assert told <= set(REGISTRIES[name])
    else:
        assert told == set(REGISTRIES[name])


@pytest.mark.parametrize("name", ["backbones", "models", "formats"])
def test_what_can_be_listed_says_what_it_is(name):
    for entry in catalogue.registered(name).values():
        assert entry.summary == inspect.getdoc(REGISTRIES[name].get(entry.name)).split("\n")[0] != ""


@pytest.mark.parametrize(
    ("path", "names", "imported"),
    [
        (("backbones", "create.py"), ("create_backbone",), create_backbone),
        (("data", "datamodule.py"), ("VisionData",), VisionData),
        (("tasks", "optimizers.py"), ("OptimizerOptions",), OptimizerOptions),
    ],
)
def test_parameters_are_those_of_the_imported_code(path, names, imported):
    node = catalogue.definition(catalogue.PACKAGE.joinpath(*path), *names)
    taken = inspect.signature(imported).parameters.values()
    assert list(catalogue.parameters(node)) == [given.name for given in taken if given.kind != given.VAR_KEYWORD]
    assert catalogue.takes_any(node) == any(given.kind == given.VAR_KEYWORD for given in taken)


def test_a_class_without_a_constructor_has_that_of_its_base():
    node = catalogue.registered("models")["fcn8s"].node
    expected = list(inspect.signature(models.get("fcn8s")).parameters)
    assert list(catalogue.parameters(node)) == expected != []
    assert catalogue.class_constant(node, "task") == "segmentation"


SOURCE = """
@models.register('one', "two", 3)
@modes.register("three")
@other(
    size=3,
)
class A(B):
    \"""First line.

    Second.
    \"""

    task: str = "detection"
    size = 3


@models.register(
    "four",
)
def make(
    size: str = "a:b",
) -> None:
    \"""Short.\"""


@models.register("five")
class C(A):
    size = 4


@atexit.register
def b(): ...


@register("six")
def c(): ...
"""


def test_source_that_is_not_part_of_a_registry_is_left_aside(tmp_path, monkeypatch):
    (tmp_path / "a.py").write_text(SOURCE.replace("\n", os.linesep))
    monkeypatch.setattr(catalogue, "PACKAGE", tmp_path)
    entries = catalogue.entries.__wrapped__()
    assert [(entry.registry, entry.name, entry.summary) for entry in entries] == [
        ("models", "one", "First line."),
        ("models", "two", "First line."),
        ("modes", "three", "First line."),
        ("models", "four", "Short."),
        ("models", "five", ""),
    ]
    assert [entry.node.name for entry in entries] == ["A", "A", "A", "make", "C"]
    node = entries[0].node
    assert [catalogue.class_constant(node, name) for name in ("task", "size", "gone")] == ["detection", "3", None]


def test_a_class_that_passes_keywords_on_has_those_of_its_base():
    node = catalogue.registered("models")["mask_rcnn"].node
    found = catalogue.parameters(node)
    assert found.keys() >= {"mask_channels", "nms", "anchors"}
    assert catalogue.class_constant(node, "task") == "detection"


def test_names_cost_no_parsing_and_a_recipe_that_of_the_few_files_it_asks_for():
    catalogue._parse.cache_clear()
    assert len(catalogue.registered("models")) > 5
    assert catalogue._parse.cache_info().misses == 0
    catalogue.class_called.cache_clear()
    check(compose(["faster_rcnn_resnet50"]))
    assert catalogue._parse.cache_info().misses < 20
