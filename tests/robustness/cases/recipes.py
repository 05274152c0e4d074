"""Damaged recipes: composed only, built without training, or trained for two steps."""

import contextlib
from unittest import mock

import lightning.pytorch as pl
import yaml

from tests.robustness.boundary import command
from tests.robustness.cases import Kind
from tests.robustness.mutations import as_yaml, encoded_text, mutated_bytes, mutated_tree, mutated_yaml

RECIPE = "r.yaml"
CLASSIFICATION = """
base: b.yaml
seed: 0
model:
  name: classifier
  backbone: {name: cifar_resnet20, weights: none, batch_norm: trained, frozen_stages: 0}
preprocess: {short_side: 32, crop: 32, mean: [0.5, 0.5, 0.5], std: [0.2, 0.2, 0.2]}
optimizer: {name: sgd, lr: 0.01, momentum: 0.9, weight_decay: 1.0e-4, base_batch_size: 2, nesterov: true}
schedule: {name: multistep, milestones: [1, 2], gamma: 0.1, warmup_steps: 1, warmup_factor: 0.1}
loss: {label_smoothing: 0.1}
ema: {decay: 0.9, start_step: 1}
early_stopping: {patience: 3}
data:
  format: shapes
  batch_size: 2
  augment:
    - {name: RandomResizedCrop, size: [32, 32], scale: [0.5, 1.0]}
    - {name: HorizontalFlip, p: 0.5}
"""
DETECTION = """
task: detection
seed: 1
model:
  name: faster_rcnn
  backbone: {name: cifar_resnet20, weights: none}
  fpn_channels: 8
  head_channels: 8
  rpn: {nms_iou: 0.7, post_nms_top_n_test: 50}
  roi: {batch_size_per_image: 16}
  nms: {score_threshold: 0.1, iou: 0.5}
preprocess: {short_side: 32, long_side: 64}
optimizer: {name: adamw, lr: 1.0e-3}
schedule: {name: cosine, warmup_steps: 0}
inference: {score_threshold: 0.3}
evaluation: {metric: voc07}
plugins: []
unfreeze: [{epoch: 1, frozen_stages: 0}]
data:
  format: shapes
  batch_size: 2
  augment: [{name: HorizontalFlip, p: 0.5}, {name: ColorJitter, hue: [0.0, 0.1], p: 0.5}]
"""
SEGMENTATION = """
task: segmentation
model: {name: fcn32s, backbone: {name: cifar_resnet20, weights: none}}
preprocess: {scale: 0.5}
optimizer: {name: sgd, lr: 0.01, momentum: 0.9}
loss: {terms: [cross_entropy, dice], class_weights: none}
schedule: {name: poly, power: 0.9, warmup_steps: 0}
inference: {tile: 32, overlap: 4}
data: {format: shapes, batch_size: 2, augment: [{name: VerticalFlip, p: 0.5}]}
for: {segmentation: {trainer: {gradient_clip_val: 1.0}}, unet/resnet50: {seed: 3}}
"""
TEXTS = [CLASSIFICATION, DETECTION, SEGMENTATION]
BASE = "task: classification\ntrainer: {max_epochs: 2, precision: 32-true}\nevaluation: {}\n"
SPLIT = "{split: %s, count: 2, size: 32, max_objects: 1, empty_share: 0.0, semantic: %s}"
FEW = [
    *(
        "trainer.max_epochs=1",
        "trainer.limit_train_batches=1",
        "trainer.limit_val_batches=1",
        "trainer.accelerator=cpu",
    ),
    *(
        "trainer.enable_progress_bar=false",
        "trainer.enable_model_summary=false",
        "data.num_workers=0",
        "data.batch_size=2",
    ),
    *("trainer.devices=1", "trainer.num_nodes=1"),
]


def few(semantic):
    """Return overrides for a run that takes a second."""
    truth = str(bool(semantic)).lower()
    splits = ", ".join(f"{name}: {SPLIT % (name, truth)}" for name in ("train", "val"))
    return [*FEW, f"data.splits={{{splits}}}"]


def prepare(rng, folder):
    text = rng.choice(TEXTS)
    semantic = text is SEGMENTATION
    (folder / "b.yaml").write_bytes(damaged(rng, BASE) if rng.random() < 0.1 else BASE.encode())
    (folder / RECIPE).write_bytes(damaged(rng, text))
    way = rng.choice(["compose", "build", "build", "fit"])
    return [way, RECIPE, *(few(semantic) if way != "compose" else [])]


def damaged(rng, text):
    """Return the bytes of a YAML file with changed values, lines or bytes."""
    choice = rng.random()
    if choice < 0.6:
        return as_yaml(mutated_tree(rng, yaml.safe_load(text))).encode()
    if choice < 0.95:
        return encoded_text(rng, mutated_yaml(rng, text, most=2))
    return mutated_bytes(rng, text.encode())


def run(way, *words):
    stopped = mock.patch.object(pl.Trainer, "fit", return_value=None)
    with stopped if way == "build" else contextlib.nullcontext():
        command(["fit", *words, *(["--dry-run"] if way == "compose" else [])])


KIND = Kind(prepare, run)
