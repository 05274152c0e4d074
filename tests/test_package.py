"""The names of the package itself."""

import subprocess
import sys

import pytest

import visionkit
from visionkit.models import models
from visionkit.tasks import tasks


def test_every_network_and_task_is_a_name_of_the_package():
    for registry in (models, tasks):
        for name in registry:
            entry = registry.get(name)
            assert getattr(visionkit, entry.__name__) is entry, "two classes of one name"
    assert {"Classification", "Classifier", "Detection", "FasterRCNN", "Segmentation"} <= set(dir(visionkit))


@pytest.mark.parametrize("name", visionkit.__all__)
def test_what_is_promised_is_there(name):
    assert getattr(visionkit, name) is not None
    assert name in dir(visionkit)


@pytest.mark.parametrize("name", ["Nonsense", "nonsense", "_hidden"])
def test_other_names_are_unknown(name):
    with pytest.raises(AttributeError, match=f"no attribute '{name}'"):
        getattr(visionkit, name)


def test_neither_the_package_nor_its_folders_import_torch():
    code = "import sys, visionkit; from visionkit import cli, registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
