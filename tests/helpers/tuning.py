"""A recipe on which `visionkit tune` takes a second."""

import pytest

from visionkit.cli.main import main

RECIPE = """
task: classification
model:
  name: classifier
  backbone: {name: cifar_resnet20, weights: none}
preprocess: {short_side: 32, crop: 32}
optimizer: {name: sgd, lr: 0.01, base_batch_size: 4}
schedule: {name: constant, warmup_steps: 0}
data:
  format: shapes
  batch_size: 4
  num_workers: 0
  splits: {train: {count: 24, size: 32}, val: {split: val, count: 8, size: 32}}
trainer: {max_epochs: 1, accelerator: cpu, enable_progress_bar: false}
"""


def tune(folder, *words, recipe=RECIPE):
    """Run `visionkit tune` in a folder, on the recipe mine.yaml, and return its status."""
    (folder / "mine.yaml").write_text(recipe)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return main(["tune", *words])
