"""Average precision of all resamples of a bootstrap at once."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visionkit.metrics.bootstrap import Counts

Flags = NDArray[np.bool_]
Indices = NDArray[np.int64]
Floats = NDArray[np.float64]
Values = NDArray[np.floating[Any]]

COCO_RECALL, VOC2007_RECALL = np.linspace(0, 1, 101), np.arange(11) / 10
"""Recalls at which precision is sampled, with the rounding of pycocotools and of VOC's development kit."""

MAX_ELEMENTS = 4_000_000
"""Largest number of values of a temporary array, which is 16 MB; resamples are processed in parts."""


class RankedDetections:
    """Detections of one class and all images in descending order of score, for resampling.

    Args:
        images: int64 [D], image of each detection.
        matched: bool [T, D], true positives at T IoU thresholds.
        ignored: bool [T, D], neither true nor false positives.
        true_images: int64 [N], image of each object that is to be found.
    """

    def __init__(self, images: Indices, matched: Flags, ignored: Flags, true_images: Indices) -> None:
        used = ~ignored.all(axis=0)
        self.images, self.true_images = images[used], true_images
        self.matched, self.ignored = matched[:, used], ignored[:, used]

    def average_precision(self, counts: Counts, points: Floats | None = COCO_RECALL) -> tuple[Values, Values]:
        """Return average precision and recall of each resample.

        Args:
            counts: how often each resample draws each image, [I, R].
            points: evenly spaced recalls from 0 to 1 at which precision is sampled; None uses the area under the curve
                of the highest precision, which is the rule of VOC2010.

        Returns:
            AP and recall, float [T, R]; NaN for a resample without objects.
        """
        parts = [self._part(counts[:, part], points) for part in self._parts(counts.shape[1])]
        return np.concatenate([ap for ap, _ in parts], axis=1), np.concatenate([recall for _, recall in parts], axis=1)

    def _parts(self, resamples: int) -> Iterator[slice]:
        size = max(MAX_ELEMENTS // max(len(self.images), 1), 1)
        return (slice(start, start + size) for start in range(0, resamples, size))

    def _part(self, counts: Counts, points: Floats | None) -> tuple[Values, Values]:
        objects = counts[self.true_images].sum(axis=0, dtype=np.float64)
        objects[objects == 0] = np.nan
        ranked = np.cumsum(counts[self.images], axis=0)
        pairs = [
            self._curve(counts, ranked, objects, np.flatnonzero(matched), np.flatnonzero(ignored), points)
            for matched, ignored in zip(self.matched, self.ignored, strict=True)
        ]
        return np.stack([ap for ap, _ in pairs]), np.stack([recall for _, recall in pairs])

    def _curve(
        self, counts: Counts, ranked: Values, objects: Values, hits: Indices, ignored: Indices, points: Floats | None
    ) -> tuple[Values, Values]:
        """Return AP and recall [R]. Only true positives are looked at: between two of them precision falls."""
        if not len(hits):
            nothing = np.where(np.isnan(objects), objects, 0)
            return nothing, nothing
        true_positives = np.cumsum(counts[self.images[hits]], axis=0)
        selected = ranked[hits]
        before = np.searchsorted(ignored, hits)
        if before[-1]:
            left_out = np.cumsum(counts[self.images[ignored[: before[-1]]]], axis=0)
            selected[before > 0] -= left_out[before[before > 0] - 1]
        precision = true_positives / np.maximum(selected, 1)
        highest = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
        recall = true_positives / objects  # float64: equality with a recall point counts
        return np.where(np.isnan(objects), objects, _sampled(highest, recall, points)), recall[-1]


def _sampled(highest: Values, recall: Values, points: Floats | None) -> Values:
    """Return the mean of the highest precision at the recall points, [R]."""
    if points is None:
        return (np.diff(recall, axis=0, prepend=0) * highest).sum(axis=0)
    last = len(points) - 1
    nearest = np.nan_to_num(np.rint(recall * last)).astype(np.int32)
    reached = nearest - (recall < points[nearest])
    return ((np.diff(reached, axis=0, prepend=0) * highest).sum(axis=0) + highest[0]) / len(points)
