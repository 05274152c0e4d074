"""Training from a composed recipe, for `visionkit fit`."""

import logging
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning_utilities.core.rank_zero import rank_zero_only
from rich.console import Console

from visionkit.cli.config.build import build_data, build_task, build_trainer
from visionkit.cli.config.typed_options import instantiate
from visionkit.cli.logs import show_progress_messages
from visionkit.engine.after_training import AfterTrainingOptions
from visionkit.engine.callbacks import EarlyStoppingOptions, EMAOptions, make_callbacks
from visionkit.engine.feature_cache import FeatureCacheOptions
from visionkit.engine.loggers import make_loggers
from visionkit.engine.run_folder import latest_checkpoint, new_run_folder, write_recipe
from visionkit.engine.unfreeze import UnfreezeStep
from visionkit.pipelines.checkpoint import read_checkpoint
from visionkit.report.tables import class_table, overall_table

logger = logging.getLogger("visionkit")


def train(recipe: dict[str, Any], *, name: str, resume: str | None = None) -> int:
    """Train a model from a recipe, and print the results, the best checkpoint and the next command.

    Args:
        recipe: the composed recipe.
        name: name of the recipe. Its runs are in `runs/<name>/`.
        resume: checkpoint to continue from; "last" uses that of the newest run, and None starts a new run.
    """
    show_progress_messages()
    checkpoint = resumed_checkpoint(name, resume)
    pl.seed_everything(recipe.get("seed", 0), workers=True, verbose=False)
    data = build_data(recipe)
    task = build_task(recipe, data)
    folder = checkpoint.parent if checkpoint else run_folder(name)
    if is_first_process():
        write_recipe(recipe, folder)
    callbacks = make_callbacks(
        folder,
        task.monitor,
        _optional(EMAOptions, recipe, "ema"),
        _optional(EarlyStoppingOptions, recipe, "early_stopping"),
        _each(UnfreezeStep, recipe, "unfreeze"),
        _optional(FeatureCacheOptions, recipe, "feature_cache"),
        _optional(AfterTrainingOptions, recipe, "after_training"),
    )
    trainer = build_trainer(recipe, callbacks, make_loggers(folder))
    trainer.fit(task, data, ckpt_path=checkpoint, weights_only=True)
    if trainer.is_global_zero:
        _print_results(task, folder)
    destroy_process_group()
    return 0


def run_folder(name: str) -> Path:
    """Return a new folder for this run. Only the first process creates it. The other processes write no files."""
    return new_run_folder(name) if is_first_process() else Path("runs") / name / "0"


def is_first_process() -> bool:
    """Return whether this process writes the files of a distributed run; always true for a single process."""
    return getattr(rank_zero_only, "rank", 0) == 0


def destroy_process_group() -> None:
    """Stop the threads of a distributed run. Gloo threads that still run at exit can abort the process."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def resumed_checkpoint(name: str, resume: str | None) -> Path | None:
    """Return the checkpoint that `--resume` selects."""
    if resume is None:
        return None
    path = latest_checkpoint(name) if resume == "last" else Path(resume)
    epoch = read_checkpoint(path)["epoch"]
    logger.info("resuming %s in epoch %d: the order of its images is drawn anew", path, epoch)
    return path


def _optional(kind: type, recipe: dict[str, Any], key: str) -> Any:
    return instantiate(kind, recipe[key], key) if recipe.get(key) else None


def _each(kind: type, recipe: dict[str, Any], key: str) -> list[Any]:
    """Return the entries of a section that is a list. A single entry may be given without a list."""
    entries = recipe.get(key) or []
    return [
        instantiate(kind, values, f"{key}.{index}")
        for index, values in enumerate(entries if isinstance(entries, list) else [entries])
    ]


def _print_results(task: Any, folder: Path) -> None:
    console = Console()
    if task.results.overall:
        console.print(overall_table(task.results, "last validation"))
        console.print(class_table(task.results, task.class_names))
    else:
        console.print("no validation was run: see trainer.check_val_every_n_epoch and trainer.limit_val_batches")
    best = next((path for path in (folder / "best.ckpt", folder / "last.ckpt") if path.is_file()), None)
    if best is not None:
        console.print(f"{best.stem} checkpoint: {best}", soft_wrap=True)
        console.print(f"next: visionkit test {best}", soft_wrap=True)
