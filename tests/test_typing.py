"""Types of the package in a user's script with its own model and backbone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import visionkit
from tests.helpers.process_copies import run_in_copy

REPOSITORY = Path(__file__).resolve().parents[1]

SCRIPT = '''
"""A backbone and a model of one's own: trained, saved, loaded and used."""

import sys
from collections.abc import Sequence
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import visionkit as vk
from visionkit.data.batch import Batch


@vk.register_backbone("script_backbone")
class ScriptBackbone(vk.Backbone):
    """Two convolutions."""

    def __init__(self, name: str, out_stages: Sequence[str] | None = None, width: int = 4) -> None:
        super().__init__(name, {"s2": vk.Stage(width, 2), "s4": vk.Stage(width, 4)}, out_stages, width=width)
        self.first = nn.Conv2d(3, width, 3, 2, 1)
        self.second = nn.Conv2d(width, width, 3, 2, 1)
        self.stage_modules = {"s2": ["first"], "s4": ["second"]}

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        first = self.first(x)
        maps = {"s2": first, "s4": self.second(first.relu())}
        return {name: maps[name] for name in self.stages}


@vk.register_model("script_classifier")
class ScriptClassifier(vk.ClassificationModel):
    """The mean of the deepest map, and a linear layer."""

    def __init__(self, backbone: vk.Backbone, num_classes: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.backbone, self.num_classes = backbone, num_classes
        *_, deepest = backbone.stages.values()
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(deepest.channels, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        *_, deepest = self.backbone(x).values()
        logits: Tensor = self.head(deepest.mean(dim=(2, 3)))
        return logits


def train(path: Path) -> None:
    """Train for a step and save a checkpoint."""
    shapes = {"train": {"split": "train", "count": 2, "size": 32}, "val": {"split": "val", "count": 1, "size": 32}}
    data = vk.VisionData("shapes", splits=shapes, batch_size=2, num_workers=0)
    detector = vk.RetinaNet(vk.create_backbone("resnet18", weights="none"), len(data.class_names), fpn_channels=8)
    options = vk.OptimizerOptions(lr=0.001, base_batch_size=2)
    preprocess = vk.DetectionPreprocessOptions(short_side=32)
    task = vk.Detection(detector, data.class_names, preprocess=preprocess, optimizer=options)
    print(task.monitor, vk.list_models("detection")[0], vk.list_backbones()[0])

    model = ScriptClassifier(vk.create_backbone("script_backbone", weights="none", width=6), num_classes=2, dropout=0.1)
    classification = vk.Classification(model, ["cat", "dog"], preprocess=vk.ClassificationPreprocessOptions(32, 32))
    trainer = pl.Trainer(
        max_steps=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(classification, DataLoader(Batches(), batch_size=None))
    trainer.save_checkpoint(path)


class Batches(Dataset[Batch]):
    """One batch of two images."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Batch:
        images = [torch.zeros(3, 32, 32, dtype=torch.uint8), torch.full((3, 32, 32), 255, dtype=torch.uint8)]
        targets: list[vk.Target] = [{"image_id": index, "label": index, "size": (32, 32)} for index in range(2)]
        return Batch(images, targets)


def use(path: Path) -> None:
    """Load the checkpoint and predict."""
    pipeline = vk.load(path, device="cpu")
    assert isinstance(pipeline, vk.ClassificationPipeline)
    assert isinstance(pipeline.network, ScriptClassifier)
    results: list[vk.ClassificationResult] = pipeline.predict(np.zeros((32, 32, 3), np.uint8))
    print(results[0].class_names, [round(float(score), 3) for score in results[0].scores])


if __name__ == "__main__":
    checkpoint = Path(sys.argv[1])
    train(checkpoint)
    use(checkpoint)
'''

MISTAKES = """
import visionkit as vk

vk.create_backbnoe("resnet18")
vk.FasterRCNN(vk.create_backbone("resnet18"), "twenty")
vk.NMSOptions(iuo=0.5)
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp("script") / "my_script.py"
    path.write_text(SCRIPT)
    return path


def mypy(*paths):
    """Output of mypy in strict mode for files of a user, who has the package installed."""
    command = [sys.executable, "-m", "mypy", "--strict", "--ignore-missing-imports", "--no-error-summary"]
    cache = REPOSITORY / ".mypy_cache" / "user_scripts"
    command += ["--config-file=", "--follow-imports=silent", f"--cache-dir={cache}"]
    environment = {**os.environ, "MYPYPATH": str(REPOSITORY)}
    done = subprocess.run(
        [*command, *map(str, paths)],
        cwd=paths[0].parent,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    return done.stdout + done.stderr


def test_a_user_s_script_passes_mypy_in_strict_mode_and_mistakes_are_found(script):
    """Both in one run, because mypy first reads the package and PyTorch."""
    wrong = script.parent / "wrong.py"
    wrong.write_text(MISTAKES)
    found = mypy(script, wrong)
    assert all(line.startswith("wrong.py:") for line in found.splitlines()), found
    assert 'wrong.py:4: error: Module has no attribute "create_backbnoe"' in found
    assert 'wrong.py:5: error: Argument 2 to "FasterRCNN" has incompatible type "str"' in found
    assert 'wrong.py:6: error: Unexpected keyword argument "iuo" for "NMSOptions"' in found


def test_a_user_s_backbone_and_model_train_save_and_load(script, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script), str(tmp_path / "a.ckpt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1].startswith("['cat', 'dog']") or "'dog', 'cat'" in done.stdout

    elsewhere = run_in_copy("import visionkit as vk\nvk.load('a.ckpt')", tmp_path)
    assert elsewhere.returncode == 1
    assert "it was registered by the script that trained it: run that code first" in elsewhere.stderr


def test_the_wheel_says_that_it_is_typed():
    assert (Path(visionkit.__file__).parent / "py.typed").is_file()
    assert 'packages = ["visionkit"]' in (REPOSITORY / "pyproject.toml").read_text()
