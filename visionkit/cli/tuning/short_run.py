"""Task, data and trainer of a short run that finds a setting, and leaves nothing behind."""

from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

import lightning.pytorch as pl

from visionkit.cli.config.build import build_data, build_task, build_trainer
from visionkit.data.datamodule import VisionData
from visionkit.errors import ConfigError
from visionkit.tasks import ScheduleOptions, Task

KEPT = (
    "accelerator",
    "accumulate_grad_batches",
    "benchmark",
    "deterministic",
    "devices",
    "gradient_clip_algorithm",
    "gradient_clip_val",
    "num_nodes",
    "precision",
)
"""Arguments of the recipe's Trainer that change what a step of one process does."""

QUIET = {
    "enable_checkpointing": False,
    "enable_model_summary": False,
    "enable_progress_bar": False,
    "num_sanity_val_steps": 0,
    "check_val_every_n_epoch": 10**9,
    "max_epochs": -1,
}


def task_and_data(recipe: dict[str, Any]) -> tuple[Task, VisionData]:
    """Return a new task of the recipe, without warmup and schedule, and its data."""
    pl.seed_everything(recipe.get("seed", 0), workers=True, verbose=False)
    data = build_data(recipe)
    data.splits.check_trained()
    task = build_task(recipe, data)
    task.schedule_options = ScheduleOptions(name="constant", warmup_steps=0)
    return task, data


@contextmanager
def short_trainer(recipe: dict[str, Any], steps: int) -> Iterator[pl.Trainer]:
    """Yield a trainer of some steps that writes nothing except Lightning's copy of the weights, which is removed.

    Raises:
        ConfigError: the recipe trains with several processes.
    """
    given = recipe.get("trainer") or {}
    options = {**{key: given[key] for key in KEPT if key in given}, **QUIET, "max_steps": steps}
    with TemporaryDirectory(prefix="visionkit-tune-") as folder:
        trainer = build_trainer({"trainer": {**options, "default_root_dir": folder}}, [], False)
        if trainer.world_size > 1:
            batches = trainer.world_size * trainer.accumulate_grad_batches
            raise ConfigError(
                f"tune runs in one process, and this recipe trains with {trainer.world_size}\n"
                f"add trainer.devices=1 trainer.num_nodes=1 trainer.accumulate_grad_batches={batches}, which keeps the "
                "effective batch"
            )
        yield trainer


def run_finder(trainer: pl.Trainer, finder: pl.Callback, task: Task, data: VisionData) -> None:
    """Run the callback of a finder, which trains by itself."""
    trainer.callbacks.append(finder)  # type: ignore[attr-defined]  # Lightning sets it in the constructor
    trainer.fit(task, data)
