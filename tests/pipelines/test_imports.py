"""Loading a checkpoint must cost little more than importing torchvision."""

import json
import subprocess
import sys

import pytest

from tests.helpers.small_detector import small_task
from tests.helpers.small_trainer import small_trainer

HEAVY = ("lightning", "torchmetrics", "albumentations", "scipy", "skimage", "sklearn", "pandas", "rich", "matplotlib")

PROGRAM = """
import json, sys
import visionkit as vk
vk.load(sys.argv[1])
print(json.dumps(sorted(sys.modules)))
"""


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    """Names of the modules that are imported after `vk.load` in a fresh process."""
    path = tmp_path_factory.mktemp("run") / "a.ckpt"
    trainer = small_trainer()
    trainer.strategy.connect(small_task(["disc", "star"]))
    trainer.save_checkpoint(path)
    process = subprocess.run([sys.executable, "-c", PROGRAM, str(path)], check=True, capture_output=True, text=True)
    return json.loads(process.stdout)


@pytest.mark.parametrize("package", HEAVY)
def test_load_does_not_import(package, modules):
    assert not [name for name in modules if name.partition(".")[0] == package]


def test_load_imports_no_other_models_and_backbones(modules):
    assert {"visionkit.models.detection.faster_rcnn", "visionkit.backbones.resnet"} <= set(modules)
    assert not {"visionkit.models.segmentation.unet", "visionkit.models.detection.yolov2"} & set(modules)
    assert not [name for name in modules if name.startswith(("visionkit.tasks", "visionkit.engine", "visionkit.cli"))]
