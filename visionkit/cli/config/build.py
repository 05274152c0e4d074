"""Construction of the objects that a recipe describes: data, task and trainer."""

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import RichProgressBar

from visionkit.backbones import create_backbone
from visionkit.cli.config.typed_options import call, instantiate, parse_section
from visionkit.data.datamodule import VisionData
from visionkit.data.datasets.base import formats
from visionkit.engine.checkpoint_io import with_atomic_checkpoints
from visionkit.models import models
from visionkit.tasks import Task, tasks


def build_data(recipe: dict[str, Any]) -> VisionData:
    """Return the datamodule of a recipe. The types of all options are checked before any file is opened."""
    required = None
    if "task" in recipe:  # a data card has no task
        multi_label = bool((recipe.get("model") or {}).get("multi_label"))
        required = tasks.get(recipe["task"]).required_annotation(multi_label)
    data: VisionData = instantiate(VisionData, recipe["data"], "data", required=required)
    dataset_class = formats.get(recipe["data"]["format"])
    for split, options in (recipe["data"].get("splits") or {}).items():
        for part in options if isinstance(options, list) else [options]:
            parse_section(dataset_class, part, f"data.splits.{split}", root=None, classes=None)
    return data


def build_task(recipe: dict[str, Any], data: VisionData) -> Task:
    """Return the task of a recipe with a new model for the classes of `data`."""
    model_keys = dict(recipe["model"])
    backbone_keys = dict(model_keys.pop("backbone"))
    if model_keys.get("weights"):  # weights of the whole model make a download of backbone weights unnecessary
        backbone_keys["weights"] = "checkpoint"
    backbone = instantiate(create_backbone, backbone_keys, "model.backbone")
    model_class = models.get(model_keys.pop("name"))
    model = instantiate(model_class, model_keys, "model", backbone=backbone, num_classes=len(data.class_names))
    task_class = tasks.get(recipe["task"])
    options = {key: instantiate(kind, recipe[key], key) for key, kind in task_class.sections().items() if key in recipe}
    task = task_class(model, **task_class.data_arguments(data), **options)
    task.recipe = recipe
    return task


def build_trainer(recipe: dict[str, Any], callbacks: list[pl.Callback], loggers: Any) -> pl.Trainer:
    """Return Lightning's Trainer with the recipe's arguments, callbacks and loggers."""
    arguments = parse_section(pl.Trainer, recipe.get("trainer", {}), "trainer")
    bars = [] if arguments.get("enable_progress_bar") is False else [RichProgressBar()]
    arguments["callbacks"] = [*callbacks, *bars, *(arguments.get("callbacks") or [])]
    arguments["plugins"] = with_atomic_checkpoints(arguments.get("plugins"))
    if arguments.get("logger") is None:
        arguments["logger"] = loggers
    trainer: pl.Trainer = call(pl.Trainer, arguments, "trainer")
    return trainer
