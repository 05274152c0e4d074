"""Metrics of a checkpoint or an ensemble of checkpoints, for `visionkit validate` and `visionkit test`."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from visionkit.cli.config.build import build_data, build_trainer
from visionkit.cli.config.compose import compose
from visionkit.cli.config.merge import Layer, saying_where, section
from visionkit.cli.config.schema import check
from visionkit.cli.config.typed_options import instantiate
from visionkit.cli.logs import show_progress_messages
from visionkit.cli.processes import destroy_process_group, is_first_process
from visionkit.cli.result_files import write_results
from visionkit.cli.result_tables import result_tables
from visionkit.data.datamodule import VisionData
from visionkit.errors import CheckpointError, ConfigError
from visionkit.pipelines import make_ensemble
from visionkit.tasks import MultiTask, Task

logger = logging.getLogger("visionkit")


def score(checkpoints: list[str], words: list[str], split: str, output: str | None) -> int:
    """Score a split, print the tables, and write metrics.json and the results files of the task.

    Args:
        checkpoints: paths of checkpoints. The predictions of several checkpoints are combined.
        words: cards and overrides to merge into the recipe of each checkpoint. The first checkpoint defines data
            and trainer.
        split: "val" or "test".
        output: folder for the files; None uses a folder beside the first checkpoint.

    Raises:
        ConfigError: the data has no such split.
    """
    task = scored_task(checkpoints, words, split).task
    if is_first_process():
        _print_tables(task, split)
        latency = {**task.latency.to_dict(), "device": str(task.device)}
        folder = Path(output) if output else _usual_folder(checkpoints, split)
        write_results(folder, {"split": split, **task.results.to_dict(), "latency": latency}, task.result_files())
    destroy_process_group()
    return 0


class Scored(NamedTuple):
    """A task with the results of a split, the data, the name of the split, and the recipe that the data is from."""

    task: Task
    data: VisionData
    split: str
    recipe: Layer


def scored_task(checkpoints: list[str], words: list[str], split: str | None, recipe: Layer | None = None) -> Scored:
    """Score a split, and return the task with its results.

    Args:
        checkpoints: paths of checkpoints. The predictions of several checkpoints are combined.
        words: cards and overrides to merge into the recipe of each checkpoint.
        split: "val" or "test"; None takes test if the data has one.
        recipe: defines data, trainer and evaluation, as that of another scored task; None is that of the first
            checkpoint.

    Raises:
        ConfigError: the data has no such split.
        CheckpointError: the data has other classes.
    """
    show_progress_messages()
    members, recipes = zip(*[_load(checkpoint, words) for checkpoint in checkpoints], strict=True)
    task = members[0] if len(members) == 1 else _ensemble(members)
    recipe = recipe or recipes[0]
    with saying_where(recipe):
        _apply_options(task, recipe.values, ["evaluation"])
        data = build_data(recipe.values)
        trainer = build_trainer({"trainer": recipe.values.get("trainer", {})}, [], False)
    split = split or ("test" if "test" in data.splits else "val")
    data.splits.check_evaluated(split)
    data.tested_split = split
    _check_classes(task, data, checkpoints[0])
    trainer.test(task, datamodule=data, verbose=False)  # the datamodule gives each process its share
    return Scored(task, data, split, recipe)


def _load(checkpoint: str, words: list[str]) -> tuple[Task, Layer]:
    """Return the task of a checkpoint, with the inference and evaluation options of the words, and its recipe."""
    task = Task.load_from_checkpoint(checkpoint)
    layer = compose(words, onto=task.recipe)
    check(layer)
    _report_unused_folder(task.recipe, layer)
    with saying_where(layer):
        _apply_options(task, layer.values, ["inference", "evaluation"])
    return task, layer


def _apply_options(task: Task, values: dict[str, Any], sections: Sequence[str], prefix: str = "") -> None:
    """Set the inference or evaluation options of a task, and of its heads, from these sections of a recipe."""
    if isinstance(task, MultiTask):
        for name, head in task.heads.items():
            _apply_options(head, (values.get("heads") or {}).get(name) or {}, sections, f"heads.{name}.")
    elif "inference" in sections:
        _apply(task.model_pipeline.set_inference, task, values, "inference", prefix)
    if "evaluation" in sections:
        _apply(task.set_evaluation, task, values, "evaluation", prefix)


def _apply(setter: Callable[[Any], None], task: Task, values: dict[str, Any], section: str, prefix: str) -> None:
    setter(instantiate(task.sections()[section], values.get(section), f"{prefix}{section}"))


def _report_unused_folder(recipe: dict[str, Any], layer: Layer) -> None:
    """Log that proposals are searched anew, because nothing is written to a folder that a checkpoint names."""
    recorded = section(Layer(recipe), "data", "proposals").get("folder")
    if recorded is not None and section(layer, "data", "proposals").get("folder") != recorded:
        text = "the cache of proposals that the checkpoint names is not used; to use it: data.proposals.folder=%s"
        logger.info(text, recorded)


def _ensemble(members: Sequence[Task]) -> Task:
    """Return a task that scores the combined predictions of several tasks with the evaluation of the first."""
    first = members[0]
    if isinstance(first, MultiTask):
        raise ConfigError(
            "models of several heads cannot be combined; combine a head of each: visionkit extract CKPT HEAD"
        )
    return type(first)(make_ensemble([member.model_pipeline for member in members]), **first.options).eval()


def _usual_folder(checkpoints: list[str], split: str) -> Path:
    first, averaged = Path(checkpoints[0]), f"-mean-of-{len(checkpoints)}" if len(checkpoints) > 1 else ""
    return first.parent / f"{first.stem}{averaged}-{split}"


def _check_classes(task: Task, data: VisionData, checkpoint: str) -> None:
    if data.class_names != task.class_names:
        raise CheckpointError(
            f"{checkpoint} has {len(task.class_names)} classes ({', '.join(task.class_names[:5])} ...), "
            f"the data {len(data.class_names)} ({', '.join(data.class_names[:5])} ...)\n"
            "give the card that the model was trained on, or one with the same classes in the same order"
        )


def _print_tables(task: Task, split: str) -> None:
    console = Console()
    for table in result_tables(task, f"{split} split"):
        console.print(table)
