"""Report about a checkpoint, for `visionkit report`."""

import functools
import shlex
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from rich.console import Console

from visionkit.cli.processes import destroy_process_group, is_first_process
from visionkit.cli.run_summary import data_source
from visionkit.cli.scoring import Scored, scored_task
from visionkit.data.datamodule import VisionData
from visionkit.data.datasets.base import VisionDataset
from visionkit.data.multi.multi_data import MultiData
from visionkit.errors import ConfigError
from visionkit.metrics.scored_detections import ScoredDetections
from visionkit.metrics.scored_images import ScoredImages
from visionkit.metrics.scored_labels import ScoredLabels
from visionkit.metrics.scored_masks import ScoredMasks
from visionkit.ops.palette import class_color
from visionkit.pipelines.base import Pipeline
from visionkit.pipelines.checkpoint import read_checkpoint
from visionkit.pipelines.results import SegmentationResult
from visionkit.report.page_file import check_overwritten
from visionkit.report.report_images import ReportImage, choose_images, detection_image, label_image, mask_image
from visionkit.report.report_page import (
    GENERATOR,
    PAGE_BYTES,
    Fact,
    HeadReport,
    Report,
    environment_rows,
    within_budget,
    write_report,
)
from visionkit.report.training_curves import training_curves
from visionkit.structures import Color, Sample
from visionkit.tasks import MultiTask, Task
from visionkit.tasks.base import PACKAGES
from visionkit.tasks.optimizers import count_parameters

FIT_ALONE = "visionkit fit recipe.yaml  # save the recipe below as recipe.yaml"
"""Command for a checkpoint that was copied out of the folder of its run."""


def report(checkpoint: str, words: list[str], split: str | None, output: str | None, count: int) -> int:
    """Score a checkpoint, and write its report.

    Args:
        checkpoint: path of the checkpoint.
        words: cards and overrides to merge into its recipe.
        split: "val" or "test"; None takes test if the data has one.
        output: HTML file to write; None is report.html beside the checkpoint.
        count: largest number of images that are shown of each head.
    """
    path = Path(output) if output else Path(checkpoint).parent / "report.html"
    check_overwritten(path, GENERATOR)  # before the scoring, which takes long
    scored = scored_task([checkpoint], words, split)
    if is_first_process():
        write_report(_make(scored, checkpoint, words, count), path)
        size = f"{path.stat().st_size / 1e6:.1f} MB"
        Console().print(f"{path} ({size}): open it in a browser", soft_wrap=True, markup=False, highlight=False)
    destroy_process_group()
    return 0


def _make(scored: Scored, checkpoint: str, words: list[str], count: int) -> Report:
    task, description = scored.task, read_checkpoint(checkpoint)["visionkit"]
    heads = list(_heads(scored, count))
    if not heads:
        raise ConfigError(f"the {scored.split} split has no images for this checkpoint")
    return Report(
        title=_title(task),
        facts=_facts(scored, checkpoint),
        heads=heads,
        training=training_curves(Path(checkpoint).parent / "metrics.csv", task.monitor),
        recipe=yaml.safe_dump(task.recipe, sort_keys=False, allow_unicode=True),
        environment=environment_rows(description.get("versions", {}), {name: version(name) for name in PACKAGES}),
        commands=_commands(scored, checkpoint, words),
    )


def _title(task: Task) -> str:
    model = task.network.spec or {}
    backbone = model.get("backbone") or {}
    name = backbone.get("name") if isinstance(backbone, dict) else backbone
    return " ".join(str(part) for part in (model.get("name"), name and f"on {name}") if part) or type(task).__name__


def _facts(scored: Scored, checkpoint: str) -> list[Fact]:
    task = scored.task
    latency, (_, total) = task.latency.to_dict(), count_parameters(task.network.parameters())
    median = latency["median_ms_per_image"]
    where = f"{task.device}, threads: {torch.get_num_threads()}"
    return [
        Fact("Checkpoint", checkpoint),
        Fact("Task", task.name),
        Fact("Data", data_source(scored.recipe.values["data"])),
        Fact("Split", scored.split),
        Fact("Parameters", f"{total:,}"),
        Fact("Time per image", "n/a" if median is None else f"{median:.1f} ms on {where}"),
    ]


def _commands(scored: Scored, checkpoint: str, words: list[str]) -> list[str]:
    recipe = Path(checkpoint).parent / "recipe.yaml"
    fit = f"visionkit fit {shlex.quote(str(recipe))}" if recipe.exists() else FIT_ALONE
    verb = {"val": "validate", "test": "test"}[scored.split]
    return [fit, shlex.join(["visionkit", verb, checkpoint, *words])]


def _heads(scored: Scored, count: int) -> Iterator[HeadReport]:
    task, data = scored.task, scored.data
    if not isinstance(task, MultiTask):
        yield from _head("", task, task, data, data.dataset(scored.split), count, PAGE_BYTES)
        return
    joined = data.dataset(scored.split)
    for name, head in task.heads.items():
        assert isinstance(data, MultiData)
        of_head = data.of_head(name)
        if head.scored is not None and scored.split in of_head.splits:
            yield from _head(name, task, head, of_head, joined, count, PAGE_BYTES / len(task.heads))


def _head(
    name: str, whole: Task, task: Task, data: VisionData, dataset: VisionDataset, count: int, budget: float
) -> Iterator[HeadReport]:
    if task.scored is None:
        return
    results = whole.results.part(f"{name}/") if name else whole.results
    colors: list[Color] = data.class_colors or [class_color(label) for label in range(len(task.class_names))]
    images = _images(task.scored, dataset, task.pipeline, colors, count)
    yield HeadReport(
        name,
        task.name,
        task.monitor.removeprefix("val/"),
        results,
        task.scored,
        task.class_names,
        colors,
        within_budget(list(images), budget),
        _data_facts(task.scored),
    )


def _data_facts(scored: ScoredImages) -> list[Fact]:
    facts = [Fact("Images", f"{len(scored):,}"), Fact("Classes", f"{len(scored.class_names):,}")]
    if isinstance(scored, ScoredDetections):
        true, predicted = scored.columns.true, scored.drawn_columns.predicted
        facts += [Fact("Objects", f"{len(true):,}"), Fact("Detections at the thresholds", f"{len(predicted):,}")]
    return facts


def _images(
    scored: ScoredImages, dataset: VisionDataset, pipeline: Pipeline[Any, Any], colors: list[Color], count: int
) -> Iterator[ReportImage]:
    """Yield images with their predictions, the worst first. Masks are predicted again, since they are not kept."""
    place = {dataset.image_id(index): index for index in range(len(dataset))}
    draw = functools.partial(_draw, scored, pipeline, colors)
    for row in choose_images(scored, count):
        yield draw(row, dataset[place[scored.image_ids[row]]])


def _draw(
    scored: ScoredImages, pipeline: Pipeline[Any, Any], colors: list[Color], row: int, sample: Sample
) -> ReportImage:
    if isinstance(scored, ScoredDetections):
        return detection_image(scored, row, sample)
    if isinstance(scored, ScoredLabels):
        return label_image(scored, row, sample)
    assert isinstance(scored, ScoredMasks)
    (result,) = pipeline.predict(sample.image)
    assert isinstance(result, SegmentationResult)
    return mask_image(scored, row, sample, np.asarray(result.mask, np.uint8), colors)
