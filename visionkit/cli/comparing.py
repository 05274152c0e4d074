"""Comparison of two checkpoints on the same images, for `visionkit compare`."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from visionkit.cli.processes import destroy_process_group, is_first_process
from visionkit.cli.scoring import scored_task
from visionkit.data.io.atomic_write import write_text
from visionkit.errors import ConfigError
from visionkit.metrics.paired_bootstrap import Comparison, Difference, compare_scored
from visionkit.metrics.results import LOWER_IS_BETTER
from visionkit.metrics.scored_images import ScoredImages
from visionkit.pipelines.checkpoint import read_checkpoint
from visionkit.tasks import MultiTask, Task

MAX_LISTED = 5
"""Largest number of images that are listed as better or worse."""

MAX_KEYS = 20
"""Largest number of differing keys of the recipes that are listed."""

NOTE = "* is more than chance (p up to 0.05); images needed: test set that would show a difference of this size"

LEAST_CHANGE = 0.01
"""Change of an image's score from which on the image counts as better or worse."""


@dataclass
class Changes:
    """Images that the second model predicts better or worse than the first one, those of the largest change first.

    Attributes:
        better, worse: image id, score with the first model, score with the second one.
    """

    better: list[tuple[int | str, float, float]]
    worse: list[tuple[int | str, float, float]]


def compare(first: str, second: str, words: list[str], split: str | None, output: str | None) -> int:
    """Score two checkpoints on the same images, and print and write the differences.

    Args:
        first: path of a checkpoint, which defines the data and the evaluation.
        second: path of the other checkpoint.
        words: cards and overrides to merge into the recipe of each checkpoint.
        split: "val" or "test"; None takes test if the data has one.
        output: folder for comparison.json; None uses that of the second checkpoint.

    Raises:
        ConfigError: the checkpoints are for different tasks or classes, or have no head in common.
    """
    _check_same_classes(first, second)
    scored = scored_task([first], words, split)
    one, other, split = scored.task, scored_task([second], words, split, scored.recipe).task, scored.split
    if is_first_process():
        pairs = dict(_pairs(one, other))
        if not pairs:
            raise ConfigError(
                f"{first} and {second} cannot be compared: they have no head with scored images in common"
            )
        found = {name: compare_scored(*pair) for name, pair in pairs.items()}
        console = Console()
        console.print(f"first   {first}\nsecond  {second}", soft_wrap=True, markup=False)
        for name, comparison in found.items():
            _print(console, comparison, f"{name}, {split} split" if name else f"{split} split")
        keys = differing_keys(one.recipe, other.recipe)
        _print_keys(console, keys)
        path = (Path(output) if output else Path(second).parent) / "comparison.json"
        write_text(path, json.dumps({"first": first, "second": second, **_plain(found, keys, split)}, indent=1))
        console.print(f"written: {path}", soft_wrap=True, markup=False)
    destroy_process_group()
    return 0


def _check_same_classes(first: str, second: str) -> None:
    """Raise ConfigError if two checkpoints are for other tasks or classes."""
    one, other = (read_checkpoint(path)["visionkit"] for path in (first, second))
    if one["task"] != other["task"]:
        raise ConfigError(f"{first} is for {one['task']}, and {second} for {other['task']}: give two of the same task")
    if one["class_names"] != other["class_names"]:
        missing = sorted(set(one["class_names"]) ^ set(other["class_names"]))
        reason = f"only one has {', '.join(missing[:5])}" if missing else "their order is different"
        raise ConfigError(f"{first} and {second} have different classes ({reason}) and cannot be compared")


def find_changes(comparison: Comparison) -> Changes:
    """Return the images whose score changes by more than `LEAST_CHANGE`.

    An image has no score where nothing is to be found and nothing is predicted. That is right, and counts as 1.
    """
    scores = np.nan_to_num(comparison.image_scores, nan=1.0)
    gains = scores[1] - scores[0]
    rows = list(zip(comparison.image_ids, scores[0].tolist(), scores[1].tolist(), strict=True))
    order = np.argsort(-gains, kind="stable")
    better = [rows[index] for index in order if gains[index] > LEAST_CHANGE]
    worse = [rows[index] for index in order[::-1] if gains[index] < -LEAST_CHANGE]
    return Changes(better, worse)


def differing_keys(first: dict[str, Any], second: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the keys of two recipes that differ, as dotted names, with both values; None where a recipe lacks one.

    Example:
        >>> from visionkit.cli.comparing import differing_keys
        >>> differing_keys({"model": {"name": "unet"}, "seed": 0}, {"model": {"name": "unet"}, "seed": 1})
        {'seed': (0, 1)}
    """
    one, other = dict(_flat(first)), dict(_flat(second))
    names = [*one, *(name for name in other if name not in one)]
    return {name: (one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name)}


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _pairs(first: Task, second: Task) -> Iterator[tuple[str, tuple[ScoredImages, ScoredImages]]]:
    """Yield the scored images of both tasks, by head if there are several."""
    if isinstance(first, MultiTask) and isinstance(second, MultiTask):
        for name in first.heads:
            if name in second.heads:
                yield from ((name, pair) for _, pair in _pairs(first.heads[name], second.heads[name]))
    elif first.scored is not None and second.scored is not None:
        yield "", (first.scored, second.scored)


def _print(console: Console, comparison: Comparison, title: str) -> None:
    console.print(difference_table(comparison.overall, "metric", title))
    first = next(iter(comparison.per_class), None)
    if first is not None:
        console.print(difference_table(comparison.per_class[first], f"{first} of", title))
    differences = comparison.overall.values()
    if any(found.images_needed for found in differences):
        console.print(NOTE, soft_wrap=True)
    changes = find_changes(comparison)
    total = len(comparison.image_ids)
    console.print(f"of {total} images, the second is better on {len(changes.better)}, worse on {len(changes.worse)}")
    for word, rows in (("better", changes.better), ("worse", changes.worse)):
        listed = ", ".join(f"{image_id} ({one:.2f} to {other:.2f})" for image_id, one, other in rows[:MAX_LISTED])
        if listed:
            console.print(f"most {word}: {listed}", markup=False)


def difference_table(differences: dict[str, Difference], name: str, title: str) -> Table:
    """Return a table of differences by the name of the metric or class; significant ones are green or red."""
    table = Table(
        escape(name), "first", "second", "difference (95 % interval)", "p", "images needed", title=escape(title)
    )
    for row, found in differences.items():
        values = f"{found.first:.4f}", f"{found.second:.4f}"
        interval = f"{found.interval.low:+.3f} to {found.interval.high:+.3f}"
        p = f"{found.p:.3f}{'*' if found.is_significant else ''}"
        needed = "" if found.images_needed is None else f"{found.images_needed:,}"
        is_better = (found.difference > 0) != (row in LOWER_IS_BETTER)
        style = ("green" if is_better else "red") if found.is_significant else None
        table.add_row(escape(row), *values, f"{found.difference:+.3f} ({interval})", p, needed, style=style)
    return table


def _print_keys(console: Console, keys: dict[str, tuple[Any, Any]]) -> None:
    if not keys:
        console.print("the recipes are the same")
        return
    table = Table("recipe", "first", "second")
    for name, values in list(keys.items())[:MAX_KEYS]:
        table.add_row(escape(name), *(escape(json.dumps(value, default=str)) for value in values))
    console.print(table)
    if len(keys) > MAX_KEYS:
        console.print(f"and {len(keys) - MAX_KEYS} other keys of the recipes, see comparison.json")


def _plain(found: dict[str, Comparison], keys: dict[str, tuple[Any, Any]], split: str) -> dict[str, Any]:
    heads = {}
    for name, comparison in found.items():
        changes = find_changes(comparison)
        heads[name] = {
            "overall": {metric: _entry(value) for metric, value in comparison.overall.items()},
            "per_class": {
                metric: {of: _entry(value) for of, value in values.items()}
                for metric, values in comparison.per_class.items()
            },
            "images": len(comparison.image_ids),
            "better": changes.better,
            "worse": changes.worse,
        }
    results = heads.get("", {"heads": heads})
    return {"split": split, **results, "recipe": {name: list(values) for name, values in keys.items()}}


def _entry(found: Difference) -> dict[str, Any]:
    return {**found._asdict(), "interval": list(found.interval), "significant": found.is_significant}
