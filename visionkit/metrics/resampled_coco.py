"""COCO's metrics of all resamples of a bootstrap."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from visionkit.metrics.bootstrap import Counts, ResampledMetrics, mean_of_defined
from visionkit.metrics.coco_matches import CocoMatches
from visionkit.metrics.detection_columns import DetectionColumns
from visionkit.metrics.resampled_ap import RankedDetections

Floats = NDArray[np.float64]

IOU_50, IOU_75 = 0, 5
"""Indices in `COCO_IOU_THRESHOLDS`."""


def resample_coco(
    columns: DetectionColumns,
    matches: CocoMatches,
    class_names: Sequence[str],
    counts: Counts,
    max_detections: Sequence[int] = (1, 10, 100),
) -> ResampledMetrics:
    """Return the metrics of `CocoAP` of each resample.

    Args:
        columns: the images.
        matches: their matches, with COCO's IoU thresholds and areas.
        class_names: K names in label order.
        counts: how often each resample draws each image, [I, R].
        max_detections: numbers of detections at which AR is computed.
    """
    found = [_of_class(columns, matches, label, counts, max_detections) for label in range(len(class_names))]
    means = {name: mean_of_defined(np.stack([of_class[name] for of_class in found])) for name in found[0]}
    per_class = {
        name: {of: metrics[name] for of, metrics in zip(class_names, found, strict=True)} for name in ("AP", "AP50")
    }
    return ResampledMetrics(means, per_class)


def _of_class(
    columns: DetectionColumns, matches: CocoMatches, label: int, counts: Counts, max_detections: Sequence[int]
) -> dict[str, Floats]:
    """Return the metrics of one class [R], in the order of COCO's table."""
    rows = columns.predicted.ranked(label)
    is_label = columns.true.labels == label
    precision, recall, metrics = {}, {}, {}
    for area, name in enumerate(matches.areas):
        objects = columns.true.images[is_label & matches.objects[area]]
        ranked = RankedDetections(
            columns.predicted.images[rows], matches.matched[area][:, rows], matches.ignored[area][:, rows], objects
        )
        ap, ar = ranked.average_precision(counts)
        precision[f"AP{name}"], recall[f"AR{name}"] = ap.mean(axis=0), ar.mean(axis=0)
        if not name:
            metrics = {"AP": ap.mean(axis=0), "AP50": ap[IOU_50], "AP75": ap[IOU_75]}
    limited = {f"AR{limit}": _recall(columns, matches, rows, label, counts, limit) for limit in max_detections[:-1]}
    limited[f"AR{max_detections[-1]}"] = recall.pop("AR")
    return {**metrics, **precision, **limited, **recall}


def _recall(
    columns: DetectionColumns,
    matches: CocoMatches,
    rows: NDArray[np.int64],
    label: int,
    counts: Counts,
    limit: int,
) -> Floats:
    """Return the mean recall over the IoU thresholds [R] of the first `limit` detections of each image."""
    rows = rows[matches.ranks[rows] < limit]
    found = matches.matched[0][:, rows].mean(axis=0) @ counts[columns.predicted.images[rows]]
    objects = counts[columns.true.images[(columns.true.labels == label) & matches.objects[0]]].sum(axis=0)
    return np.where(objects > 0, found / np.maximum(objects, 1), np.nan)
