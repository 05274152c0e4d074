"""A recipe of three heads that trains in seconds, and a run of it."""

import pytest

from visionkit.cli.main import main

HEADS = ["objects", "regions", "tags"]
SPLITS = "{train: {count: 6, size: 64}, val: {split: val, count: 3, size: 64}, test: {split: test, count: 2, size: 64}}"
RECIPE = f"""task: multi
model:
  name: multi
  backbone: {{name: resnet18, weights: none}}
  heads:
    objects: {{name: retinanet, fpn_channels: 16, out_stages: [s8, s16, s32], nms: {{score_threshold: 0.001}}}}
    regions: {{name: unet, decoder_channels: [32, 16, 16, 8, 8]}}
    tags: {{name: classifier, multi_label: true}}
heads:
  objects: {{preprocess: {{size: [64, 64]}}}}
  regions: {{preprocess: {{size: [64, 64]}}, loss: {{terms: [cross_entropy, dice]}}}}
  tags: {{preprocess: {{size: [64, 64]}}}}
optimizer: {{name: adamw, lr: 0.002, base_batch_size: 2, scale_lr: false}}
schedule: {{name: constant, warmup_steps: 0}}
balancing: {{name: uncertainty, cosine_every: 2}}
data:
  batch_size: 2
  num_workers: 0
  augment: [{{name: HorizontalFlip, p: 0.5}}]
  cards:
    all: {{format: shapes, splits: {SPLITS}, heads: [objects, regions, tags]}}
trainer: {{max_epochs: 2, accelerator: cpu, enable_progress_bar: false, enable_model_summary: false}}
"""


def fit(folder, *words):
    """Run `visionkit fit` in a folder; its runs are in `runs/mine`."""
    (folder / "mine.yaml").write_text(RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["fit", "mine.yaml", *words]) == 0
