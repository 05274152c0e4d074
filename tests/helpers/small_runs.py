"""Short training runs of each task by the command line, on three validation images of shapes."""

import pytest

from visionkit.cli.main import main

COMMON = """
optimizer: {lr: 0.01, base_batch_size: 2}
schedule: {name: constant, warmup_steps: 0}
trainer: {max_epochs: 1, accelerator: cpu, enable_progress_bar: false, enable_model_summary: false}
"""
RECIPES = {
    "detection": """
task: detection
model: {name: retinanet, backbone: {name: resnet18, weights: none}, fpn_channels: 16}
preprocess: {short_side: 64}
""",
    "classification": """
task: classification
model: {name: classifier, backbone: {name: cifar_resnet20, weights: none}}
preprocess: {short_side: 32, crop: 32}
""",
    "segmentation": """
task: segmentation
model: {name: unet, backbone: {name: unet, weights: none, width: 4}}
""",
}
DATA = """
data:
  format: shapes
  batch_size: 2
  num_workers: 0
  splits:
    train: &images {split: train, count: 4, size: 64, semantic: SEMANTIC, max_objects: 1, empty_share: 0.0}
    val: {<<: *images, split: val, count: 3}
"""


def write_recipe(task, folder):
    """Write the recipe of a task to mine.yaml."""
    semantic = str(task == "segmentation").lower()
    (folder / "mine.yaml").write_text(RECIPES[task] + COMMON + DATA.replace("SEMANTIC", semantic))


def checkpoints_of(task, folder, seeds=(0,)):
    """Train with each seed, and return the last checkpoints."""
    write_recipe(task, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for seed in seeds:
            assert main(["fit", "mine.yaml", f"seed={seed}"]) == 0
    return sorted(folder.glob("runs/mine/*/last.ckpt"))
