"""`visionkit fit`: from a composed recipe to a trained checkpoint."""

import logging
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import RichProgressBar
from rich.console import Console

from visionkit.backbones import create_backbone
from visionkit.cli.build import call, instantiate, parse_section
from visionkit.cli.logs import show_progress_messages
from visionkit.data.datamodule import VisionData
from visionkit.engine.run import (
    EarlyStoppingOptions,
    EmaOptions,
    latest_checkpoint,
    make_callbacks,
    make_loggers,
    new_run_folder,
    write_recipe,
)
from visionkit.models import models
from visionkit.report.tables import class_table, overall_table
from visionkit.tasks import Task, tasks

logger = logging.getLogger("visionkit")


def fit(recipe: dict[str, Any], *, name: str, resume: str | None = None) -> int:
    """Train as the recipe says and print the results, the best checkpoint and the next command.

    Args:
        recipe: the composed recipe.
        name: of the recipe; its runs lie in `runs/<name>/`.
        resume: a checkpoint to go on from, "last" for the newest run's, None to start anew.
    """
    show_progress_messages()
    checkpoint = resumed_checkpoint(name, resume)
    pl.seed_everything(recipe.get("seed", 0), workers=True, verbose=False)
    data: VisionData = instantiate(VisionData, recipe["data"], "data")
    task = build_task(recipe, data)
    folder = checkpoint.parent if checkpoint else new_run_folder(name)
    write_recipe(recipe, folder)
    callbacks = make_callbacks(
        folder,
        task.monitor,
        _optional(EmaOptions, recipe, "ema"),
        _optional(EarlyStoppingOptions, recipe, "early_stopping"),
    )
    trainer = build_trainer(recipe, callbacks, make_loggers(folder))
    trainer.fit(task, data, ckpt_path=checkpoint, weights_only=True)
    if trainer.is_global_zero:
        _print_outcome(task, folder)
    return 0


def build_task(recipe: dict[str, Any], data: VisionData) -> Task:
    """The task of a recipe with a fresh network for the classes of `data`."""
    model_keys = dict(recipe["model"])
    backbone_keys = dict(model_keys.pop("backbone"))
    if model_keys.get("weights"):  # of the whole network: the backbone's own would be fetched in vain
        backbone_keys["weights"] = "checkpoint"
    backbone = instantiate(create_backbone, backbone_keys, "model.backbone")
    network_class = models.get(model_keys.pop("name"))
    network = instantiate(network_class, model_keys, "model", backbone=backbone, num_classes=len(data.class_names))
    task_class = tasks.get(recipe["task"])
    options = {
        key: instantiate(kind, recipe[key], key) for key, kind in task_class.option_types.items() if key in recipe
    }
    task = task_class(network, class_names=data.class_names, category_ids=data.category_ids, **options)
    task.recipe = recipe
    return task


def build_trainer(recipe: dict[str, Any], callbacks: list[pl.Callback], loggers: Any) -> pl.Trainer:
    """Lightning's Trainer with the recipe's arguments beside visionkit's own callbacks and loggers."""
    arguments = parse_section(pl.Trainer, recipe.get("trainer", {}), "trainer")
    bars = [] if arguments.get("enable_progress_bar") is False else [RichProgressBar()]
    arguments["callbacks"] = [*callbacks, *bars, *(arguments.get("callbacks") or [])]
    if arguments.get("logger") is None:
        arguments["logger"] = loggers
    trainer: pl.Trainer = call(pl.Trainer, arguments, "trainer")
    return trainer


def resumed_checkpoint(name: str, resume: str | None) -> Path | None:
    """The checkpoint that `--resume` means."""
    if resume is None:
        return None
    path = latest_checkpoint(name) if resume == "last" else Path(resume)
    from visionkit.engine.checkpoint import read_checkpoint

    epoch = read_checkpoint(path)["epoch"]
    logger.info("resuming %s in epoch %d: the order of its pictures is drawn anew", path, epoch)
    return path


def _optional(kind: type, recipe: dict[str, Any], key: str) -> Any:
    return instantiate(kind, recipe[key], key) if recipe.get(key) else None


def _print_outcome(task: Any, folder: Path) -> None:
    console = Console()
    results = getattr(task, "results", {})
    console.print(overall_table(results, "validation, last epoch"))
    console.print(class_table(results, task.class_names))
    best = folder / "best.ckpt"
    console.print(f"best checkpoint: {best}", soft_wrap=True)
    console.print(f"next: visionkit test {best}", soft_wrap=True)
