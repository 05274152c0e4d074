"""Scores of anyone's predictions, for `visionkit evaluate`."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from visionkit.cli.config.build import build_data
from visionkit.cli.logs import show_progress_messages
from visionkit.cli.predicted_boxes import NOTHING, has_masks, read_predicted_boxes
from visionkit.cli.predicted_classes import read_predicted_classes
from visionkit.cli.predicted_masks import find_masks, read_predicted_mask
from visionkit.cli.result_files import write_results
from visionkit.data.datamodule import VisionData
from visionkit.data.datasets.base import RequiredAnnotation, VisionDataset
from visionkit.data.datasets.image_path import image_path
from visionkit.errors import ConfigError, DataError
from visionkit.metrics.classification import MultiLabelMetrics, SingleLabelMetrics
from visionkit.metrics.detection import detection_metrics
from visionkit.metrics.detection_columns import DetectionColumns
from visionkit.metrics.detection_results import score_detections
from visionkit.metrics.scored_images import ScoredResults
from visionkit.metrics.scored_labels import ScoredMultiLabels, ScoredSingleLabels
from visionkit.metrics.scored_masks import ScoredMasks
from visionkit.metrics.segmentation import SegmentationMetrics
from visionkit.pipelines.classification import MULTI_LABEL_THRESHOLD
from visionkit.report.tables import class_table, overall_table

logger = logging.getLogger("visionkit")

BOXES, MASKS = "coco", "coco_masks"
"""Metrics of predictions without and with masks of the objects."""


class Given(NamedTuple):
    """The predictions, the split with its images and classes, and how it is scored.

    Attributes:
        path: file or folder of the predictions.
        data: data with the split.
        dataset: the split.
        metric: metric of boxes; None for the usual one.
        boundaries: whether boundary F1 of masks is computed.
    """

    path: Path
    data: VisionData
    dataset: VisionDataset
    metric: str | None
    boundaries: bool


class Kind(NamedTuple):
    """A kind of predictions: its name, the annotation that the images must have, and the function that scores it."""

    name: str
    required: RequiredAnnotation | None
    score: Callable[[Given], ScoredResults]


def evaluate(
    predictions: str, card: dict[str, Any], split: str | None, metric: str | None, multi_label: bool, output: str | None
) -> int:
    """Score predictions, print the tables, and write metrics.json and curves.json.

    Args:
        predictions: a JSON file with boxes, a folder of PNG masks, or a CSV file with probabilities.
        card: the composed data card.
        split: "val" or "test"; None takes test if the data has one.
        metric: metric of detections; None takes that of the card.
        multi_label: whether an image can have several classes (CSV).
        output: folder for the files; None uses `<name of the predictions>-scores` beside them.

    Raises:
        ConfigError: the predictions are of no known kind, or `metric` is given for other predictions than boxes.
        DataError: the predictions do not fit to the data.
    """
    show_progress_messages()
    path = Path(predictions)
    kind = _kind_of(path, multi_label)
    if metric is not None and kind.name != "boxes":
        raise ConfigError(f"--metric goes with predicted boxes, and {path} has {kind.name}")
    data = build_data(card, kind.required)
    name = split or ("test" if "test" in data.splits else "val")
    data.splits.check_evaluated(name)
    dataset = data.dataset(name)
    evaluation = card.get("evaluation") or {}
    chosen, boundaries = metric or evaluation.get("metric"), evaluation.get("boundaries") is True
    results, scored = kind.score(Given(path, data, dataset, chosen, boundaries))
    if scored is not None:
        results = scored.added_to(results)
    console = Console()
    console.print(overall_table(results, f"{path.name}, {name} split"))
    if results.per_class:
        console.print(class_table(results, data.class_names))
    folder = Path(output) if output else path.with_name(f"{path.stem}-scores")
    write_results(folder, {"split": name, "predictions": str(path), **results.to_dict()}, {})
    return 0


def _score_boxes(given: Given) -> ScoredResults:
    path, data, dataset = given.path, given.data, given.dataset
    predicted = read_predicted_boxes(path, dataset, data.category_ids)
    name = given.metric or (MASKS if has_masks(predicted) and _has_masks(dataset) else BOXES)
    metric = detection_metrics.get(name)(class_names=data.class_names)
    ids = [dataset.image_id(index) for index in range(len(dataset))]
    without = sum(image_id not in predicted for image_id in ids)
    if without:
        logger.info("%d of %d images have no predictions", without, len(ids))
    predictions = [predicted.get(image_id, NOTHING) for image_id in ids]
    targets = [_target(dataset, index, metric.scores_masks) for index in range(len(dataset))]
    columns = DetectionColumns.joined([DetectionColumns.of_images(predictions, targets)])
    logger.warning("precision, recall and F1: the thresholds are chosen on the scored split, which favors them")
    return score_detections(columns, metric, name)


def _target(dataset: VisionDataset, index: int, with_masks: bool) -> dict[str, Any]:
    found = dataset.annotation(index)
    target = {
        "image_id": dataset.image_id(index),
        "size": dataset.image_size(index),
        "boxes": found.boxes,
        "labels": found.labels,
        "crowd": found.crowd,
        "difficult": found.difficult,
        "area": found.area,
    }
    return {**target, "masks": found.masks} if with_masks else target


def _has_masks(dataset: VisionDataset) -> bool:
    return any(dataset.annotation(index).masks is not None for index in range(len(dataset)))


def _score_masks(given: Given) -> ScoredResults:
    path, data, dataset = given.path, given.data, given.dataset
    names = _image_names(dataset)
    metric, images = SegmentationMetrics(data.class_names, given.boundaries), {}
    for index, mask in enumerate(find_masks(path, names)):
        truth = dataset.semantic(index)
        if truth is None:
            raise DataError(f"the card has no class mask of {names[index]}")
        labels = read_predicted_mask(mask, (truth.shape[0], truth.shape[1]), len(data.class_names))
        images[dataset.image_id(index)] = metric.update_image(torch.from_numpy(labels), torch.from_numpy(truth))
    return ScoredResults(metric.compute(), ScoredMasks(images, data.class_names) if images else None)


def _score_single_labels(given: Given) -> ScoredResults:
    found, names = _probabilities(given, multi_label=False), given.data.class_names
    labels = [given.dataset.label(index) for index in range(len(given.dataset))]
    if None in labels:
        raise ConfigError("the card has images without a single class: --multi-label scores several classes per image")
    metric, targets = SingleLabelMetrics(names), torch.tensor(labels)
    metric.update(found, targets)
    return ScoredResults(metric.compute(), ScoredSingleLabels(_by_image(given.dataset, found, targets), names))


def _score_multi_labels(given: Given) -> ScoredResults:
    found, names = _probabilities(given, multi_label=True), given.data.class_names
    targets = torch.zeros(len(given.dataset), len(names))
    for index, row in enumerate(targets):
        row[torch.as_tensor(np.asarray(given.dataset.tags(index), np.int64))] = 1
    metric, thresholds = MultiLabelMetrics(names), [MULTI_LABEL_THRESHOLD] * len(names)
    metric.update(found, targets)
    scored = ScoredMultiLabels(_by_image(given.dataset, found, targets), names, thresholds)
    return ScoredResults(metric.compute() | scored.at_thresholds(), scored)


def _probabilities(given: Given, multi_label: bool) -> Tensor:
    names = _image_names(given.dataset)
    return torch.from_numpy(read_predicted_classes(given.path, names, given.data.class_names, multi_label))


def _by_image(dataset: VisionDataset, found: Tensor, targets: Tensor) -> dict[int | str, tuple[Tensor, Tensor]]:
    return {dataset.image_id(index): (found[index], targets[index]) for index in range(len(dataset))}


def _image_names(dataset: VisionDataset) -> list[Path]:
    """Return the path of each image.

    Raises:
        ConfigError: the images have no files, so that predictions cannot be assigned to them.
    """
    paths = [image_path(dataset, index) for index in range(len(dataset))]
    if None in paths:
        raise ConfigError("the images of this card have no files: predictions are assigned to images by file name")
    return [path for path in paths if path is not None]


def _kind_of(path: Path, multi_label: bool) -> Kind:
    if path.is_dir():
        return Kind("masks", "semantic", _score_masks)
    if path.suffix == ".json":
        return Kind("boxes", "masks" if _mentions_masks(path) else None, _score_boxes)
    if path.suffix == ".csv" and multi_label:
        return Kind("classes", "tags", _score_multi_labels)
    if path.suffix == ".csv":
        return Kind("classes", "label", _score_single_labels)
    raise ConfigError(
        f"{path} is of no known kind\ngive a .json file in COCO's results format, a folder of PNG masks, or a .csv "
        "file with a column `image` and one per class"
    )


def _mentions_masks(path: Path) -> bool:
    """Return whether the first predictions of a file have masks, so that the card's masks are read."""
    with path.open("rb") as file:
        return b'"segmentation"' in file.read(100_000)
