"""Construction of the objects that a recipe describes: data, task and trainer."""

from collections.abc import Mapping
from typing import Any, cast

import lightning.pytorch as pl
from rich.console import Console

from visionkit.backbones import Backbone, create_backbone
from visionkit.backbones.published_weights import UnavailableError, UnpublishedError
from visionkit.cli.config.build_multi import build_multi_data, build_multi_task
from visionkit.cli.config.merge import WrongValueError
from visionkit.cli.config.multi_cards import MULTI
from visionkit.cli.config.typed_options import call, instantiate, parse_section
from visionkit.cli.epoch_lines import EpochLines
from visionkit.cli.progress_bar import ProgressBar
from visionkit.data.datamodule import VisionData
from visionkit.data.datasets.base import RequiredAnnotation, formats
from visionkit.data.multi.multi_data import MultiData
from visionkit.engine.checkpoint_io import with_atomic_checkpoints
from visionkit.errors import CheckpointError
from visionkit.models import models
from visionkit.option_checks import check_above, check_numbers
from visionkit.tasks import Task, tasks

AUTO, EMBEDDED = "auto", "shapes"
LENGTHS = ("max_epochs", "max_steps", "max_time", "fast_dev_run")
"""Arguments of the Trainer that end training."""

TRAINER_MINIMA = {
    "accumulate_grad_batches": 1,
    "check_val_every_n_epoch": 1,
    "gradient_clip_val": 0,
    "log_every_n_steps": 0,
    "max_epochs": -1,
    "max_steps": -1,
    "min_epochs": 0,
    "min_steps": 0,
    "num_nodes": 1,
    "num_sanity_val_steps": -1,
    "reload_dataloaders_every_n_epochs": 0,
    "limit_train_batches": 0,
    "limit_val_batches": 0,
    "limit_test_batches": 0,
    "overfit_batches": 0,
}
"""Smallest value of arguments of the Trainer that Lightning does not check itself, or only during the run."""


def build_data(recipe: dict[str, Any], required: RequiredAnnotation | None = None) -> VisionData:
    """Return the datamodule of a recipe. The types of all options are checked before any file is opened.

    Args:
        recipe: the composed recipe or data card.
        required: annotation that an image must have; that of the recipe's task takes precedence.
    """
    if recipe.get("task") == MULTI:
        return build_multi_data(recipe)
    if "task" in recipe:  # a data card has no task
        model = recipe["model"]
        required = tasks.get(recipe["task"]).required_annotation(
            models.get(model["name"]), bool(model.get("multi_label"))
        )
    data: VisionData = instantiate(VisionData, recipe["data"], "data", required=required)
    dataset_class = formats.get(recipe["data"]["format"])
    for split, options in (recipe["data"].get("splits") or {}).items():
        for part in options if isinstance(options, list) else [options]:
            parse_section(dataset_class, part, f"data.splits.{split}", root=None, classes=None, stream=None)
    return data


def with_split_options(recipe: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe with further options of all its splits, or of their parts, where it does not set them."""
    data = recipe["data"]
    splits = {
        name: [{**options, **part} for part in given] if isinstance(given, list) else {**options, **given}
        for name, given in (data.get("splits") or {}).items()
    }
    return {**recipe, "data": {**data, "splits": splits}}


def build_task(recipe: dict[str, Any], data: VisionData) -> Task:
    """Return the task of a recipe with a new model for the classes of `data`."""
    backbone = build_backbone(recipe)
    if isinstance(data, MultiData):
        return build_multi_task(recipe, data, backbone)
    model_keys = dict(recipe["model"])
    model_keys.pop("backbone")
    model_class = models.get(model_keys.pop("name"))
    model = instantiate(model_class, model_keys, "model", backbone=backbone, num_classes=len(data.class_names))
    task_class = tasks.get(recipe["task"])
    options = {key: instantiate(kind, recipe[key], key) for key, kind in task_class.sections().items() if key in recipe}
    task = task_class(model, **task_class.data_arguments(data), **options)
    task.recipe = recipe
    return task


def build_backbone(recipe: dict[str, Any]) -> Backbone:
    """Return the backbone of a recipe.

    Raises:
        CheckpointError: its published weights are not available and the data is not the embedded `shapes`, for which a
            randomly initialized network is enough.
    """
    keys = dict(recipe["model"]["backbone"])
    if recipe["model"].get("weights"):  # weights of the whole model make a download of backbone weights unnecessary
        keys["weights"] = "checkpoint"
    if keys.get("weights", AUTO) != AUTO or _is_embedded(recipe["data"]):
        return cast(Backbone, instantiate(create_backbone, keys, "model.backbone"))
    try:
        return cast(Backbone, instantiate(create_backbone, {**keys, "weights": "imagenet"}, "model.backbone"))
    except UnpublishedError:  # random weights are the only ones
        return cast(Backbone, instantiate(create_backbone, keys, "model.backbone"))
    except UnavailableError as error:
        advice = "For a randomly initialized network set model.backbone.weights=none."
        raise CheckpointError(f"{error}\n{advice}") from error


def _is_embedded(data: dict[str, Any]) -> bool:
    """Return whether all images are those of the format `shapes`."""
    return all(card["format"] == EMBEDDED for card in (data.get("cards") or {"": data}).values())


def check_length(trainer: dict[str, Any] | None) -> None:
    """Raise WrongValueError if the trainer of a recipe has no length; Lightning would train for 1,000 epochs."""
    options = trainer or {}
    if options.get("max_epochs") != 0 and not any(options.get(key) for key in LENGTHS):
        raise WrongValueError("trainer.max_epochs is missing: give the number of epochs", ("trainer",))


def build_trainer(recipe: dict[str, Any], callbacks: list[pl.Callback], loggers: Any) -> pl.Trainer:
    """Return Lightning's Trainer with the recipe's arguments, callbacks and loggers."""
    arguments = parse_section(pl.Trainer, recipe.get("trainer", {}), "trainer")
    call(_check_trainer, arguments, "trainer")
    bars = _progress(arguments)
    given = arguments.get("callbacks") or []
    arguments["callbacks"] = [*callbacks, *bars, *(given if isinstance(given, list) else [given])]
    arguments["plugins"] = with_atomic_checkpoints(arguments.get("plugins"))
    arguments["logger"] = loggers
    trainer: pl.Trainer = call(pl.Trainer, arguments, "trainer")
    return trainer


def _progress(arguments: dict[str, Any]) -> list[pl.Callback]:
    """Return what shows the progress: a bar on a terminal, otherwise lines; nothing if the recipe has no bar."""
    if arguments.get("enable_progress_bar") is False:
        return []
    console = Console()
    if console.is_terminal or console.is_jupyter:
        return [ProgressBar()]
    arguments["enable_progress_bar"] = False
    return [EpochLines()]


def _check_trainer(**arguments: Any) -> None:
    """Raise ConfigError for numbers that would fail, or have no meaning, only during the run."""
    for name, lowest in TRAINER_MINIMA.items():
        check_numbers(lowest, **{name: arguments.get(name)})
    if isinstance(arguments.get("val_check_interval"), int | float):  # it may also be a duration
        check_above(0, val_check_interval=arguments["val_check_interval"])
