import inspect
import os

import pytest

from visionkit.backbones import backbones, create_backbone
from visionkit.cli import catalogue
from visionkit.data.datamodule import VisionData
from visionkit.data.formats import formats
from visionkit.metrics import metrics
from visionkit.models import models
from visionkit.tasks import tasks
from visionkit.tasks.optimise import OptimizerOptions, optimizers, schedules

REGISTRIES = {
    "backbones": backbones,
    "formats": formats,
    "metrics": metrics,
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
        (("tasks", "optimise.py"), ("OptimizerOptions",), OptimizerOptions),
    ],
)
def test_parameters_are_those_of_the_imported_code(path, names, imported):
    node = catalogue.definition(catalogue.PACKAGE.joinpath(*path), *names)
    taken = inspect.signature(imported).parameters.values()
    assert list(catalogue.parameters(node)) == [given.name for given in taken if given.kind != given.VAR_KEYWORD]
    assert catalogue.takes_any(node) == any(given.kind == given.VAR_KEYWORD for given in taken)


def test_source_that_is_not_part_of_a_registry_is_left_aside(tmp_path, monkeypatch):
    lines = [
        "@models.register('one', 'two', 3)",
        "class A:",
        "    'First line.",
        "",
        "    Second.'",
        "    task: str = 'detection'",
        "    size = 3",
        "@atexit.register",
        "def b(): ...",
        "@register('c')",
        "def c(): ...",
    ]
    (tmp_path / "a.py").write_text(
        os.linesep.join(lines).replace("'First", "'''First").replace("Second.'", "Second.'''")
    )
    monkeypatch.setattr(catalogue, "PACKAGE", tmp_path)
    entries = catalogue.entries.__wrapped__()
    assert [(entry.registry, entry.name, entry.summary) for entry in entries] == [
        ("models", "one", "First line."),
        ("models", "two", "First line."),
    ]
    node = entries[0].node
    assert [catalogue.class_constant(node, name) for name in ("task", "size", "gone")] == ["detection", "3", None]


def test_a_class_that_passes_keywords_on_has_those_of_its_base():
    node = catalogue.registered("models")["mask_rcnn"].node
    found = catalogue.parameters(node)
    assert found.keys() >= {"mask_channels", "box_nms_iou", "anchor_sizes"}
    assert catalogue.class_constant(node, "task") == "detection"
