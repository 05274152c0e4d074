"""All results of a detector on a set of images."""

from collections.abc import Sequence

from visionkit.metrics.detection import DetectionMetric, detection_metrics
from visionkit.metrics.detection_columns import DetectionColumns
from visionkit.metrics.f1_threshold import SCORED_SPLIT, VAL_SPLIT
from visionkit.metrics.operating_point import find_operating_point, match_at
from visionkit.metrics.scored_detections import IOU_THRESHOLD, ScoredDetections
from visionkit.metrics.scored_images import ScoredResults

STANDARD_METRICS = ("coco", "voc07", "voc10")
"""Metrics of which the results also have the main number, as "voc07_AP50"."""

CONTAINED = {"coco_masks": ("coco",)}
"""Metrics that are part of another one."""


def score_detections(
    columns: DetectionColumns,
    metric: DetectionMetric,
    name: str,
    thresholds: Sequence[float | None] | None = None,
) -> ScoredResults:
    """Return the metrics of the images, and precision, recall and F1 at score thresholds.

    Args:
        columns: the images.
        metric: the main metric.
        name: its registered name.
        thresholds: score threshold of each class; None chooses them on these images, which favors them.
    """
    class_names = metric.class_names
    results = metric.score(columns)
    others = {
        f"{other}_": detection_metrics.get(other)(class_names=class_names)
        for other in STANDARD_METRICS
        if other not in (name, *CONTAINED.get(name, ()))
    }
    for prefix, other in others.items():
        results.overall[f"{prefix}{other.main_metric}"] = other.score(columns).overall[other.main_metric]
    matches = match_at(columns, len(class_names), IOU_THRESHOLD)
    point = find_operating_point(columns, len(class_names), IOU_THRESHOLD, thresholds=thresholds, matches=matches)
    results |= point.results(class_names)
    results.extras["thresholds_from"] = SCORED_SPLIT if thresholds is None else VAL_SPLIT
    if not len(columns):
        return ScoredResults(results, None)
    return ScoredResults(results, ScoredDetections(columns, {"": metric, **others}, point.threshold, matches=matches))
