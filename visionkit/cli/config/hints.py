"""Equivalents of keys and options of other projects, for error messages and a table in the documentation."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from visionkit.errors import ConfigError


@dataclass(frozen=True)
class Hint:
    """Key or option of another project with its equivalent in visionkit.

    Attributes:
        word: key or option without leading dashes.
        here: equivalent in visionkit, with keys in backquotes.
    """

    word: str
    here: str


HINTS: dict[str, tuple[Hint, ...]] = {
    "ultralytics": (
        Hint("model", "a recipe: `visionkit fit faster_rcnn_resnet50`; its network is `model.name`"),
        Hint(
            "data",
            "a data card beside the recipe: `visionkit fit RECIPE CARD`; a data.yaml is read by `data.format=yolo`",
        ),
        Hint(
            "imgsz",
            "`preprocess.short_side`; `preprocess.size` for a fixed size, `preprocess.crop` for classifiers",
        ),
        Hint("epochs", "`trainer.max_epochs`"),
        Hint("batch", "`data.batch_size` (per process)"),
        Hint("workers", "`data.num_workers`"),
        Hint("device", "`trainer.accelerator` and `trainer.devices`"),
        Hint("lr0", "`optimizer.lr` (for `optimizer.base_batch_size` images)"),
        Hint("lrf", "`schedule.final_factor`"),
        Hint("cos_lr", "`schedule.name=cosine`"),
        Hint("optimizer", "`optimizer.name`"),
        Hint("momentum", "`optimizer.momentum`"),
        Hint("weight_decay", "`optimizer.weight_decay`"),
        Hint("warmup_epochs", "`schedule.warmup_steps` (optimizer steps)"),
        Hint("nbs", "`optimizer.base_batch_size`"),
        Hint("patience", "`early_stopping.patience`"),
        Hint("freeze", "`model.backbone.frozen_stages`"),
        Hint("pretrained", "`model.backbone.weights`"),
        Hint("amp", "`trainer.precision=16-mixed`"),
        Hint("half", "`trainer.precision=16-true`"),
        Hint("conf", "`inference.score_threshold`; in `visionkit predict` --score-threshold"),
        Hint("iou", "`model.nms.iou`"),
        Hint("max_det", "`model.nms.max_detections`"),
        Hint("agnostic_nms", "`model.nms.kind=class_agnostic`"),
        Hint("augment", "`data.augment` in training; `inference.flip` and `inference.tta_scales` in evaluation"),
        Hint("fliplr", "a step of `data.augment`: {name: HorizontalFlip, p: 0.5}"),
        Hint("multi_scale", "`preprocess.multi_scale`"),
        Hint("source", "the images after the checkpoint: `visionkit predict CKPT IMAGE`"),
        Hint("resume", "--resume"),
        Hint("val", "another command: `visionkit validate CKPT`"),
        Hint("project", "not needed: a run is written to runs/<recipe>-<card>/<number>"),
        Hint("name", "not needed: a run is written to runs/<recipe>-<card>/<number>"),
    ),
    "detectron2": (
        Hint("SOLVER.BASE_LR", "`optimizer.lr` (for `optimizer.base_batch_size` images)"),
        Hint("SOLVER.IMS_PER_BATCH", "`data.batch_size` (per process)"),
        Hint("SOLVER.MAX_ITER", "`trainer.max_steps`, or `trainer.max_epochs`"),
        Hint("SOLVER.STEPS", "`schedule.milestones` (epochs)"),
        Hint("SOLVER.GAMMA", "`schedule.gamma`"),
        Hint("SOLVER.MOMENTUM", "`optimizer.momentum`"),
        Hint("SOLVER.WEIGHT_DECAY", "`optimizer.weight_decay`"),
        Hint("SOLVER.WARMUP_ITERS", "`schedule.warmup_steps`"),
        Hint("SOLVER.AMP.ENABLED", "`trainer.precision=16-mixed`"),
        Hint("MODEL.WEIGHTS", "`model.weights` for the whole network, `model.backbone.weights` for the backbone"),
        Hint(
            "MODEL.BACKBONE.FREEZE_AT",
            "`model.backbone.frozen_stages`: FREEZE_AT - 1, the stem is part of the first stage",
        ),
        Hint("MODEL.ANCHOR_GENERATOR.SIZES", "`model.anchors.sizes`"),
        Hint("MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", "`model.anchors.aspect_ratios`"),
        Hint("MODEL.RPN.BATCH_SIZE_PER_IMAGE", "`model.rpn.batch_size_per_image`"),
        Hint("MODEL.RPN.NMS_THRESH", "`model.rpn.nms_iou`"),
        Hint("MODEL.ROI_HEADS.NUM_CLASSES", "not needed: the data card has the classes"),
        Hint("MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", "`model.roi.batch_size_per_image`"),
        Hint("MODEL.ROI_HEADS.POSITIVE_FRACTION", "`model.roi.positive_fraction`"),
        Hint("MODEL.ROI_HEADS.NMS_THRESH_TEST", "`model.nms.iou`"),
        Hint("MODEL.ROI_HEADS.SCORE_THRESH_TEST", "`model.nms.score_threshold`"),
        Hint("TEST.DETECTIONS_PER_IMAGE", "`model.nms.max_detections`"),
        Hint("INPUT.MIN_SIZE_TRAIN", "`preprocess.short_side`; for several sides `preprocess.multi_scale`"),
        Hint("INPUT.MAX_SIZE_TRAIN", "`preprocess.long_side`"),
        Hint("DATASETS.TRAIN", "a data card beside the recipe: `visionkit fit RECIPE CARD`"),
        Hint("DATASETS.TEST", "a data card beside the recipe: `visionkit fit RECIPE CARD`"),
        Hint("DATALOADER.NUM_WORKERS", "`data.num_workers`"),
        Hint("OUTPUT_DIR", "not needed: a run is written to runs/<recipe>-<card>/<number>"),
        Hint("config-file", "a recipe: `visionkit fit RECIPE`"),
        Hint("num-gpus", "`trainer.devices`"),
        Hint("eval-only", "another command: `visionkit test CKPT`"),
    ),
    "mmdetection": (
        Hint("train_cfg.max_epochs", "`trainer.max_epochs`"),
        Hint("train_cfg.val_interval", "`trainer.check_val_every_n_epoch`"),
        Hint("optim_wrapper.optimizer.lr", "`optimizer.lr`"),
        Hint("optim_wrapper.clip_grad", "`trainer.gradient_clip_val`"),
        Hint("param_scheduler", "`schedule.name`, `schedule.milestones`, `schedule.warmup_steps`"),
        Hint("train_dataloader.batch_size", "`data.batch_size` (per process)"),
        Hint("train_dataloader.num_workers", "`data.num_workers`"),
        Hint("train_pipeline", "`preprocess` for resizing, `data.augment` for random transforms"),
        Hint("data_root", "`data.root`"),
        Hint("load_from", "`model.weights`"),
        Hint("work_dir", "not needed: a run is written to runs/<recipe>-<card>/<number>"),
        Hint("auto_scale_lr", "`optimizer.base_batch_size` and `optimizer.scale_lr`"),
        Hint("cfg-options", "key=value after the recipe, without an option"),
    ),
    "torchvision's references": (
        Hint("dataset", "a data card beside the recipe: `visionkit fit RECIPE CARD`"),
        Hint("data-path", "`data.root`"),
        Hint("batch-size", "`data.batch_size` (per process)"),
        Hint("lr", "`optimizer.lr`"),
        Hint("lr-steps", "`schedule.milestones` (epochs)"),
        Hint("lr-gamma", "`schedule.gamma`"),
        Hint("wd", "`optimizer.weight_decay`"),
        Hint("weights", "`model.weights` for the whole network, `model.backbone.weights` for the backbone"),
        Hint("weights-backbone", "`model.backbone.weights`"),
        Hint(
            "trainable-backbone-layers",
            "`model.backbone.frozen_stages`: 4 - layers for 0 to 3 layers of a ResNet, 0 for 5",
        ),
        Hint("output-dir", "not needed: a run is written to runs/<recipe>-<card>/<number>"),
        Hint("test-only", "another command: `visionkit test CKPT`"),
    ),
    "Lightning": (
        Hint("max_epochs", "`trainer.max_epochs`"),
        Hint("max_steps", "`trainer.max_steps`"),
        Hint("accelerator", "`trainer.accelerator`"),
        Hint("devices", "`trainer.devices`"),
        Hint("precision", "`trainer.precision`"),
        Hint("config", "a recipe: `visionkit fit RECIPE`"),
        Hint("ckpt_path", "--resume CKPT in fit; the first word of test and predict"),
        Hint("learning_rate", "`optimizer.lr`"),
        Hint("batch_size", "`data.batch_size` (per process)"),
        Hint("num_workers", "`data.num_workers`"),
    ),
}
"""Hints by project."""

SECTIONS_HERE = ("model", "data", "optimizer")
"""Words of other projects that are sections in visionkit. Their hint applies to a single value (data=coco.yaml)."""


def _normalized(word: str) -> str:
    return word.lstrip("-").replace("-", "_")


_BY_WORD = {_normalized(hint.word): hint for hints in reversed(HINTS.values()) for hint in hints}


def key_hint(key: str) -> str | None:
    """Return a hint for a key of another project ("here it is trainer.max_epochs"); None if the key is unknown.

    Other keys of sections that only the other project has (`SOLVER.NESTEROV`) have a general hint.
    """
    hint = _BY_WORD.get(_normalized(key))
    if hint is not None:
        return f"here it is {hint.here.replace('`', '')}"
    if key.partition(".")[0] in {word.partition(".")[0] for word in _BY_WORD if "." in word}:
        return 'that is a key of another project: see "Coming from" in the documentation'
    return None


def option_hint(option: str) -> str | None:
    """Return a hint for an unknown option (`--epochs`) that follows its error message; None if there is no hint."""
    word = option.partition("=")[0].lstrip("-")
    if _is_section_here(word):
        return f"; keys of a recipe are written without dashes: {word}=VALUE"
    hint = key_hint(word)
    return f"; {hint}" if hint else None


def check_words(words: Iterable[str]) -> None:
    """Check that overrides do not use keys of other projects.

    Raises:
        ConfigError: an override uses such a key. The message has the equivalent.
    """
    for key, value in _overrides(words):
        hint = key_hint(key)
        if hint is None or (key in SECTIONS_HERE and not re.match(r"[A-Za-z]", value)):
            continue
        raise ConfigError(f"unknown key {key}={value}\n{hint}\n  the command line")


def markdown_table(project: str) -> str:
    """Return the hints for a project as a Markdown table for the documentation."""
    rows = [f"| `{hint.word}` | {hint.here} |" for hint in HINTS[project]]
    return "\n".join([f"| {project} | visionkit |", "|---|---|", *rows])


def _overrides(words: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield key and value of the overrides among the words, including detectron2's overrides without `=`."""
    words = list(words)
    for word, after in zip(words, [*words, ""][1:], strict=True):
        key, equals, value = word.partition("=")
        if equals:
            yield key, value
        elif re.fullmatch(r"[A-Z]+(\.[A-Z_0-9]+)+", word):
            yield word, after


def _is_section_here(key: str) -> bool:
    return key.partition(".")[0] in (*SECTIONS_HERE, "trainer", "schedule", "preprocess", "inference", "evaluation")
