"""Training from a composed recipe, for `visionkit fit`."""

import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
from lightning.fabric.utilities.exceptions import MisconfigurationException
from rich.console import Console

from visionkit.cli.config.build import build_data, build_task, build_trainer, check_length
from visionkit.cli.config.typed_options import instantiate
from visionkit.cli.empty_folder import empty_folder
from visionkit.cli.logger_section import chosen_loggers, refuse_trainer_logger
from visionkit.cli.logs import show_progress_messages
from visionkit.cli.processes import destroy_process_group, is_first_process
from visionkit.cli.result_tables import result_tables
from visionkit.cli.run_length import adapt_length, report_few_steps
from visionkit.cli.run_summary import report_run
from visionkit.cli.unexpected import LOG_NAME, log_errors_in
from visionkit.data.datamodule import VisionData
from visionkit.engine.after_training import AfterTrainingOptions, has_unfitted_layers
from visionkit.engine.callbacks import CheckpointOptions, EarlyStoppingOptions, EMAOptions, make_callbacks
from visionkit.engine.data_wait import DataWait
from visionkit.engine.feature_cache import FeatureCacheOptions
from visionkit.engine.graceful_stop import report_stop
from visionkit.engine.loggers import run_loggers
from visionkit.engine.resume import check_same_network, explain_other_optimizer, read_resumable
from visionkit.engine.run_folder import (
    RunName,
    check_not_finished,
    latest_checkpoint,
    mark_finished,
    mark_unfinished,
    new_run_folder,
    write_recipe,
)
from visionkit.engine.run_lock import NAME as LOCK_NAME
from visionkit.engine.run_lock import run_lock
from visionkit.engine.run_record import RUN_FILE, add_to_record, recorded_session
from visionkit.engine.time_budget import TimeBudget
from visionkit.engine.unfreeze import UnfreezeStep
from visionkit.errors import ConfigError
from visionkit.tasks import Task

logger = logging.getLogger("visionkit")


AUTOMATIC = "made for the card"
"""Name of a recipe that `fit` has made."""

FILES_OF_A_START = (LOCK_NAME, RUN_FILE, LOG_NAME)
"""Files in a run's folder before training."""


class TimeLimit(NamedTuple):
    """Given time in minutes from the start of the command, and the time of `time.monotonic` at which it ends."""

    minutes: float
    deadline: float


def train(
    recipe: dict[str, Any],
    *,
    name: RunName,
    resume: str | None = None,
    fixed_length: bool = False,
    time_limit: TimeLimit | None = None,
    folder: Path | None = None,
) -> int:
    """Train a model from a recipe, and print the results, the best checkpoint and the next command.

    Args:
        recipe: the composed recipe.
        name: names of recipe and cards, which name the run's folder.
        resume: checkpoint to continue from; "last" uses that of the newest run, and None starts a new run.
        fixed_length: whether to keep `trainer.max_epochs`, also if there are few images; see `adapt_length`.
        time_limit: time at which the run ends, instead of after its epochs; None for its epochs.
        folder: folder of a new run; None makes the next one in `runs/<name>/`.
    """
    show_progress_messages()
    path = resumed_path(name, resume)
    if path is None:
        _train(recipe, name, None, fixed_length, time_limit, folder)
    else:
        with _locked(path.parent):
            _train(recipe, name, path, fixed_length, time_limit, None)
    destroy_process_group()
    return 0


def _train(
    recipe: dict[str, Any],
    name: RunName,
    path: Path | None,
    fixed_length: bool,
    time_limit: TimeLimit | None,
    given_folder: Path | None,
) -> None:
    """Train in a new run, or continue the run of the checkpoint `path`, whose folder is locked."""
    trainer_options = recipe.get("trainer") or {}
    minutes = None if time_limit is None else time_limit.minutes
    checkpoint = None if path is None else _read(path, trainer_options, minutes)
    pl.seed_everything(recipe.get("seed", 0), workers=True, verbose=False)
    check_length(recipe.get("trainer"))
    refuse_trainer_logger(recipe.get("trainer"))
    chosen = chosen_loggers(recipe.get("logger"))
    data = build_data(recipe)
    data.splits.check_trained()
    task = build_task(recipe, data)
    steps = None
    if path is not None and checkpoint is not None:
        check_same_network(checkpoint, task, path)
        steps = checkpoint["global_step"]
        del checkpoint  # the trainer reads it again
    budget = None if time_limit is None else _budget(time_limit.deadline)
    folder = run_folder(name.folder, given_folder) if path is None else path.parent
    with (
        log_errors_in(folder),
        _new_session(folder) if path is None else nullcontext(),
        recorded_session(folder, _facts(name, task)) if is_first_process() else nullcontext(),
        run_loggers(folder, steps, chosen) as loggers,
    ):
        callbacks = recipe_callbacks(recipe, folder, task.monitor, budget)
        trainer = build_trainer(recipe, callbacks, loggers)
        if not fixed_length and budget is None:
            recipe = task.recipe = adapt_length(recipe, trainer, task, data)
        if path is None:  # MLflow refuses other values in a resumed run
            for own in loggers[1:]:  # metrics.csv has recipe.yaml beside it
                own.log_hyperparams(recipe)
        report_run(recipe, trainer, task, data, minutes)
        if budget is None:
            report_few_steps(trainer, data, (recipe.get("ema") or {}).get("start_step"))
        if is_first_process():
            write_recipe(recipe, folder)
            mark_unfinished(folder)
        with explain_other_optimizer(path), _explain_settings(), report_stop(callbacks, folder / "last.ckpt"):
            trainer.fit(task, data, ckpt_path=path, weights_only=True)
        if trainer.is_global_zero:
            add_to_record(folder, _waiting(callbacks))
            if not has_unfitted_layers(task):
                mark_finished(folder, recipe.get("trainer") or {}, minutes)
            _print_results(task, data, folder)


def _facts(name: RunName, task: Task) -> dict[str, Any]:
    """Return what run.yaml says about a run."""
    return {
        "recipe": name.recipe or AUTOMATIC,
        "cards": name.cards,
        "metric": task.monitor,
        "visionkit": version("visionkit"),
    }


def _waiting(callbacks: list[pl.Callback]) -> dict[str, float]:
    """Return what run.yaml says about the time that was spent waiting for data."""
    return next((callback.facts() for callback in callbacks if isinstance(callback, DataWait)), {})


def _budget(deadline: float) -> TimeBudget:
    """Return the budget of the time that remains.

    Raises:
        ConfigError: no time remains.
    """
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise ConfigError(
            f"--minutes: the time was over before training could start, by {-remaining:.1f} seconds\n"
            "give more minutes: they count from the start of the command"
        )
    return TimeBudget(remaining)


@contextmanager
def _explain_settings() -> Iterator[None]:
    """Raise ConfigError for settings of the trainer that Lightning refuses when training starts."""
    try:
        yield
    except MisconfigurationException as error:
        raise ConfigError(f"trainer: Lightning refuses its settings\n{' '.join(str(error).split())}") from error


def recipe_callbacks(
    recipe: dict[str, Any], folder: Path, monitor: str, budget: TimeBudget | None
) -> list[pl.Callback]:
    """Return the callbacks of a run; see `make_callbacks`."""
    return make_callbacks(
        folder,
        monitor,
        _optional(EMAOptions, recipe, "ema"),
        _optional(EarlyStoppingOptions, recipe, "early_stopping"),
        _each(UnfreezeStep, recipe, "unfreeze"),
        _feature_cache(recipe),
        _optional(AfterTrainingOptions, recipe, "after_training"),
        _optional(CheckpointOptions, recipe, "checkpoint"),
        budget,
    )


def _locked(folder: Path) -> AbstractContextManager[None]:
    """Return the lock of a run folder. Only the process that writes its files holds it."""
    return run_lock(folder) if is_first_process() else nullcontext()


@contextmanager
def _new_session(folder: Path) -> Iterator[None]:
    """Hold the lock of the folder of a new run, without the record of a start that failed before training."""
    with _locked(folder):
        if is_first_process():
            (folder / RUN_FILE).unlink(missing_ok=True)
        yield


def run_folder(name: str, given: Path | None = None) -> Path:
    """Return a new folder for this run. Only the first process creates it. The other processes write no files.

    A given folder may contain what a start leaves that fails before training.
    """
    if not is_first_process():
        return given or Path("runs") / name / "0"
    return new_run_folder(name) if given is None else empty_folder(given, FILES_OF_A_START)


def resumed_path(name: RunName, resume: str | None) -> Path | None:
    """Return the path of the checkpoint that `--resume` selects.

    Raises:
        VisionkitError: there is no run to continue.
    """
    if resume is None:
        return None
    return latest_checkpoint(name) if resume == "last" else Path(resume)


def _read(path: Path, trainer_options: dict[str, Any], minutes: float | None) -> dict[str, Any]:
    """Return the checkpoint of an unfinished run, or of a finished one that is to be trained for longer."""
    check_not_finished(path.parent, trainer_options, minutes)
    checkpoint = read_resumable(path)
    logger.info("resuming %s after step %d of epoch %d", path, checkpoint["global_step"], checkpoint["epoch"])
    return checkpoint


def _optional(kind: type, recipe: dict[str, Any], key: str) -> Any:
    return instantiate(kind, recipe[key], key) if recipe.get(key) else None


def _feature_cache(recipe: dict[str, Any]) -> FeatureCacheOptions | None:
    """Return the options of the feature cache, which `feature_cache: null` alone switches off."""
    given = recipe.get("feature_cache", {})
    return None if given is None else instantiate(FeatureCacheOptions, given, "feature_cache")


def _each(kind: type, recipe: dict[str, Any], key: str) -> list[Any]:
    """Return the entries of a section that is a list. A single entry may be given without a list."""
    entries = recipe.get(key) or []
    return [
        instantiate(kind, values, f"{key}.{index}")
        for index, values in enumerate(entries if isinstance(entries, list) else [entries])
    ]


def _print_results(task: Task, data: VisionData, folder: Path) -> None:
    console = Console()
    if task.results.overall:
        for table in result_tables(task, "last validation"):
            console.print(table)
    else:
        console.print("no validation was run: see trainer.check_val_every_n_epoch and trainer.limit_val_batches")
    best = next((path for path in (folder / "best.ckpt", folder / "last.ckpt") if path.is_file()), None)
    if best is not None:
        console.print(f"{best.stem} checkpoint: {best}", soft_wrap=True, markup=False)
        command = "test" if "test" in data.splits else "validate"
        console.print(f"next: visionkit {command} {best}", soft_wrap=True, markup=False)
