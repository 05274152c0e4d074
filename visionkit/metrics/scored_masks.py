"""Scored images of a segmentation model: confidence intervals of its metrics, and calibration."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from visionkit.metrics.bootstrap import Counts, ResampledMetrics, by_class, mean_of_defined
from visionkit.metrics.image_ids import ImageId, sort_key
from visionkit.metrics.pixel_calibration import bin_sums
from visionkit.metrics.reliability import reliability_of_bins
from visionkit.metrics.scored_images import ScoredImages
from visionkit.metrics.segmentation import ImagePixels

Floats = NDArray[np.float64]


class ScoredMasks(ScoredImages):
    """Pixels of each class of each image.

    Args:
        images: counts of each image by id.
        class_names: K names in label order.
    """

    def __init__(self, images: Mapping[ImageId, ImagePixels], class_names: Sequence[str]) -> None:
        ids = sorted(images, key=sort_key)
        super().__init__(ids, class_names)
        rows = [images[image_id] for image_id in ids]
        self.correct, self.true, self.predicted = (
            np.stack([getattr(row, name).numpy() for row in rows]).astype(np.float64)
            for name in ("correct", "true", "predicted")
        )
        boundaries = [row.boundary_f1 for row in rows if row.boundary_f1 is not None]
        self.boundary_f1 = torch.stack(boundaries).numpy() if boundaries else None
        bins = [row.bins for row in rows if row.bins is not None]
        self.bins = bin_sums(torch.stack(bins)).numpy() if bins else None

    def resample(self, counts: Counts) -> ResampledMetrics:
        """See `ScoredImages.resample`."""
        correct, true, predicted = (table.T @ counts for table in (self.correct, self.true, self.predicted))
        exists = true > 0
        iou = np.where(exists, correct / np.maximum(true + predicted - correct, 1), np.nan)
        columns = {
            "IoU": iou,
            "accuracy": np.where(exists, correct / np.maximum(true, 1), np.nan),
            "dice": np.where(exists, 2 * correct / np.maximum(true + predicted, 1), np.nan),
        }
        total = np.maximum(true.sum(axis=0), 1)
        overall = {
            "mIoU": mean_of_defined(iou),
            "pixel_accuracy": correct.sum(axis=0) / total,
            "mean_accuracy": mean_of_defined(columns["accuracy"]),
            "fwIoU": np.where(exists, iou * true, 0).sum(axis=0) / total,
            "mean_dice": mean_of_defined(columns["dice"]),
        }
        if self.boundary_f1 is not None:
            columns["boundary_F1"] = self._resample_boundaries(self.boundary_f1, counts)
            overall["boundary_F1"] = mean_of_defined(columns["boundary_F1"])
        if self.bins is not None:
            gaps = self.bins[:, 2] - self.bins[:, 1]
            overall["calibration_error"] = np.abs(gaps.T @ counts).sum(axis=0) / total
        return ResampledMetrics(overall, by_class(self.class_names, columns))

    @cached_property
    def image_scores(self) -> Floats:
        """Mean IoU of each image [I]."""
        union = self.true + self.predicted - self.correct
        iou = np.where(self.true > 0, self.correct / np.maximum(union, 1), np.nan)
        return mean_of_defined(iou.T)

    def analysis(self) -> dict[str, Any]:
        """Return the calibration of the pixels, if their confidences are known."""
        return {} if self.bins is None else {"calibration": reliability_of_bins(*self.bins.sum(axis=0)).to_dict()}

    @staticmethod
    def _resample_boundaries(values: Floats, counts: Counts) -> Floats:
        images = (~np.isnan(values)).T.astype(np.float64) @ counts
        return np.where(images > 0, np.nan_to_num(values).T @ counts / np.maximum(images, 1), np.nan)
