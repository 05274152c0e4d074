"""A head of a model as a checkpoint of its own, for `visionkit extract`."""

from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from visionkit.cli.config.merge import Layer, section
from visionkit.cli.config.multi_cards import OF_AUGMENTATION, OF_SOURCE, cards_of
from visionkit.data.io.atomic_write import atomic_write
from visionkit.errors import CheckpointError, WriteError
from visionkit.tasks import MultiTask, Task

OF_RUN = ("seed", "plugins", "optimizer", "schedule", "trainer", "ema")
"""Sections of a recipe that are those of all heads."""

OF_DATA = ("batch_size", "num_workers", "augment", "min_visibility")
"""Keys of `data` that are those of all cards."""


def extract(checkpoint: str, head: str, output: str | None) -> int:
    """Write a head with the backbone as an ordinary checkpoint, and print its path.

    Args:
        checkpoint: path of the checkpoint of a model of several heads.
        head: name of the head.
        output: path of the new checkpoint; None writes `<head>.ckpt` beside the checkpoint.

    Raises:
        CheckpointError: the checkpoint is not one of a model of several heads, or has no such head.
        WriteError: the new checkpoint exists already.
    """
    task = Task.load_from_checkpoint(checkpoint)
    if not isinstance(task, MultiTask):
        raise CheckpointError(f"{checkpoint} is a checkpoint of one task, {task.name}: it has no heads to extract")
    if head not in task.heads:
        raise CheckpointError(f"{checkpoint} has no head {head!r}; its heads are {', '.join(task.heads)}")
    path = Path(output) if output else Path(checkpoint).with_name(f"{head}.ckpt")
    if path.exists():
        raise WriteError(f"{path} exists already; give another --output, or remove it")
    single = single_task(task, head)
    with atomic_write(path) as file:
        torch.save({"state_dict": single.state_dict(), "visionkit": {**single.description(), "metrics": {}}}, file)
    Console().print(f"{single.name} checkpoint: {path}", soft_wrap=True, markup=False)
    return 0


def single_task(task: MultiTask, head: str) -> Task:
    """Return the task of a head alone, with copies of the weights, and the part of the recipe that is about it."""
    own = task.heads[head]
    options = {**own.options, "optimizer": task.optimizer_options, "schedule": task.schedule_options}
    single = type(own)(task.pipeline.single(head), **options)
    single.recipe = recipe_of_head(task.recipe, own.name, head) if task.recipe else {}
    return single


def recipe_of_head(recipe: dict[str, Any], task: str, head: str) -> dict[str, Any]:
    """Return the recipe of a single task from that of several heads; with the data if the head has one card.

    Raises:
        ConfigError: the recipe has a value in place of keys.
    """
    layer = Layer(recipe)
    given = {key: value for key, value in section(layer, "model", "heads", head).items() if key != "weights"}
    backbone = dict(section(layer, "model", "backbone"))
    if stages := given.pop("out_stages", None):
        backbone["out_stages"] = stages
    cards = [card for card in cards_of(layer).values() if head in (card.get("heads") or [])]
    data = {key: value for key, value in section(layer, "data").items() if key in OF_DATA}
    if len(cards) == 1:
        data |= {key: value for key, value in cards[0].items() if key in (*OF_SOURCE, *OF_AUGMENTATION)}
    run = {key: recipe[key] for key in OF_RUN if key in recipe}
    sections = section(layer, "heads", head)
    return {"task": task, **run, "model": {**given, "backbone": backbone}, **sections, "data": data}
