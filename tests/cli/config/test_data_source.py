"""Data that does not fit the task, and data that is missing, are refused without torch."""

import re
import subprocess
import sys
from typing import get_args

import pytest

from tests.helpers.every_format import FORMATS
from visionkit.cli.config.catalog import registered
from visionkit.cli.config.compose import compose, shipped_files
from visionkit.cli.config.data_source import IN_WORDS, check_data_source
from visionkit.cli.config.python_source import class_strings
from visionkit.cli.config.schema import check
from visionkit.data.datamodule import VisionData
from visionkit.data.datasets.base import AnnotationKind, formats
from visionkit.errors import ConfigError, DataError
from visionkit.models import models
from visionkit.tasks import tasks

OF_ANY_KIND = {"shapes", "huggingface", "packed"}
"""Formats whose files decide which annotations they have."""

PLUGIN = """
from visionkit.data.datasets.base import register_format


@register_format("mine")
class Mine:
    def __init__(self, root=None):
        pass
"""


def checked(*words):
    recipe = compose(words)
    check(recipe)
    check_data_source(recipe)


def kinds_of(dataset, index):
    """Return the kinds of annotation that an image has."""
    found = {
        "boxes": len(dataset.annotation(index).boxes) > 0,
        "label": dataset.label(index) is not None,
        "tags": dataset.tags(index) is not None and len(dataset.tags(index)) > 0,
        "semantic": dataset.has_semantic(index),
    }
    return {kind for kind, has in found.items() if has}


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_has_only_annotations_of_the_kinds_that_it_declares(name, tmp_path):
    dataset = VisionData(name, str(tmp_path), {"train": FORMATS[name](tmp_path)}).dataset("train")
    declared = getattr(formats.get(name), "annotation_kinds", None)
    assert (declared is None) == (name in OF_ANY_KIND)
    if declared is not None:
        found = set().union(*(kinds_of(dataset, index) for index in range(len(dataset))))
        assert found <= {*declared}
        assert name == "coco_panoptic" or found, "the images of the test have annotations"


@pytest.mark.parametrize("name", sorted(registered("formats")))
def test_the_source_declares_what_the_class_has(name):
    declared = getattr(formats.get(name), "annotation_kinds", None)
    found = class_strings(registered("formats")[name].definition, "annotation_kinds")
    assert found == (None if declared is None else list(declared))


def test_a_task_needs_what_it_requires_of_images():
    model = {"detection": "faster_rcnn", "segmentation": "unet", "classification": "classifier"}
    assert {*model, "multi"} == {*tasks}, "the heads of a task of several heads have tasks of their own"
    for name in model:
        required = tasks.get(name).required_annotation(models.get(model[name]))
        assert tasks.get(name).annotation_kind == (required or "boxes")
    assert {*IN_WORDS} == {*get_args(AnnotationKind)}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["faster_rcnn_resnet50", "cifar10"], "detection needs boxes of objects, and the format cifar has one class"),
        (["faster_rcnn_resnet50", "folder_template"], "recipes for it: alexnet_imagenet, "),
        (["mask_rcnn_resnet50", "camvid"], "and the format masks has semantic masks"),
        (["unet_resnet50", "voc2007"], "the format voc has boxes of objects and the classes of an image"),
        (["transfer_head", "voc2007"], "any number of classes: model.multi_label=true"),
        (["transfer_head", "isbi_membrane", "model.multi_label=true"], "needs the classes of an image"),
    ],
)
def test_a_format_that_does_not_fit_the_task_is_refused(words, message):
    with pytest.raises(ConfigError) as caught:
        checked(*words)
    assert message in str(caught.value)
    assert re.search(r"data.\w+\.yaml:\d+$", str(caught.value))
    assert len(str(caught.value).splitlines()) <= 4


@pytest.mark.parametrize(
    "words",
    [
        ["transfer_head", "voc2007", "model.multi_label=true"],
        ["transfer_head", "folder_template", "model.multi_label=true"],
        ["unet_resnet50", "data.format=packed"],
        ["faster_rcnn_resnet50", "data.format=huggingface"],
        *([file.stem] for file in shipped_files("recipes") if not file.stem.startswith("multi_")),
    ],
    ids=" ".join,
)
def test_a_format_that_fits_the_task_is_not_refused(words, tmp_path):
    checked(*words, f"data.root={tmp_path}")


def test_a_format_of_a_plugin_may_declare_nothing(tmp_path):
    (tmp_path / "mine.py").write_text(PLUGIN)
    checked("faster_rcnn_resnet50", f"plugins=[{tmp_path / 'mine.py'}]", "data.format=mine", "data.root=anything")


def test_a_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"the data folder .*gone does not exist; set data.root"):
        checked("transfer_head", "cifar10", f"data.root={tmp_path / 'gone'}")
    checked("transfer_head", "cifar10", "data.format=packed", "data.root=https://host/data")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fit", "transfer_head", "gone.yaml"], "there is no recipe or data card gone.yaml"),
        (["fit", "transfer_head", "cifar10", "data.root=gone"], "the data folder gone does not exist"),
        (["fit", "faster_rcnn_resnet50", "cifar10"], "the task detection needs boxes of objects"),
        (["fit", "faster_rcnn_resnet50", "--resume"], "nothing to resume"),
    ],
)
def test_fit_answers_without_torch(words, message, tmp_path):
    code = "import sys; from visionkit.cli.main import main; status = main(sys.argv[1:]); "
    code += "assert 'torch' not in sys.modules; sys.exit(status)"
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2, done.stderr
    assert message in re.sub(r"\s+", " ", done.stderr)
