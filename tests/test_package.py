"""The names of `import visionkit as vk`."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import visionkit
from visionkit.models import models
from visionkit.tasks import tasks


def type_checked_imports():
    """Module of each name in the `TYPE_CHECKING` block."""
    tree = ast.parse(Path(visionkit.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    return {alias.name: node.module for node in block.body for alias in node.names}


def test_the_lazy_names_are_those_that_type_checkers_see():
    assert type_checked_imports() == visionkit._MODULES
    assert sorted(visionkit.__all__) == sorted(["__version__", *visionkit._MODULES])


def test_every_model_and_task_is_a_name_of_the_package():
    for registry in (models, tasks):
        for name in registry:
            entry = registry.get(name)
            if entry.__module__.startswith("visionkit."):
                assert getattr(visionkit, entry.__name__) is entry


@pytest.mark.parametrize("name", visionkit.__all__)
def test_every_exported_name_exists(name):
    assert getattr(visionkit, name) is not None
    assert name in dir(visionkit)


@pytest.mark.parametrize("name", ["Nonsense", "nonsense", "_hidden"])
def test_other_names_are_unknown(name):
    with pytest.raises(AttributeError, match=f"no attribute '{name}'"):
        getattr(visionkit, name)


def test_models_and_backbones_are_listed():
    assert visionkit.list_models() == sorted(models)
    assert "faster_rcnn" in visionkit.list_models("detection")
    assert "unet" not in visionkit.list_models("detection")
    assert {"resnet50", "densenet121"} <= set(visionkit.list_backbones())


def test_neither_the_package_nor_its_command_imports_torch():
    code = (
        "import sys, visionkit; from visionkit import cli, registry; dir(visionkit); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
