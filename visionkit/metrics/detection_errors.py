"""Kinds of errors of a detector (TIDE, Bolya et al. 2020, section 2.2)."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visionkit.metrics.box_pairs import BoxPairs, pairs_of_image
from visionkit.metrics.coco_matches import CocoMatches
from visionkit.metrics.detection_columns import DetectionColumns, IouType

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

ERROR_KINDS = ("classification", "localization", "both", "duplicate", "background", "missed")
"""Kinds of errors; the last one is of objects, the others are of detections."""

NO_ERROR, IGNORED = -1, -2
"""Detections that are true positives, and those that count neither as true nor as false positives."""

BACKGROUND_IOU = 0.1
"""IoU up to which a detection lies on the background."""


@dataclass(frozen=True)
class DetectionErrors:
    """Error of each prediction and of each object at one IoU threshold.

    Attributes:
        kinds: int64 [L], index in `ERROR_KINDS` for false positives, or `NO_ERROR` or `IGNORED`.
        missed: bool [N], objects without a match that no detection with the wrong class or place explains.
        undetected: bool [N], objects without a match.
    """

    kinds: NDArray[np.int64]
    missed: Flags
    undetected: Flags

    def counts(self, selected: Flags, objects: Flags) -> dict[str, int]:
        """Return the number of errors of each kind among some predictions [L] and objects [N]."""
        found = np.bincount(self.kinds[selected & (self.kinds >= 0)], minlength=len(ERROR_KINDS))
        found[-1] = np.count_nonzero(self.missed & objects)
        return dict(zip(ERROR_KINDS, found.tolist(), strict=True))


def find_errors(columns: DetectionColumns, matches: CocoMatches, iou_type: IouType = "bbox") -> DetectionErrors:
    """Return the error of each prediction and object, at the first area range and IoU threshold of the matches.

    The first of these that holds is the error of a false positive: localization (its best object of the same class has
    an IoU from 0.1 to the threshold), classification (an object of another class reaches the threshold), duplicate
    (a detected object of its class reaches it), background (no object has an IoU above 0.1), both.

    Args:
        columns: the images.
        matches: their matches.
        iou_type: whether boxes or masks are compared.
    """
    predicted, true = columns.predicted, columns.true
    threshold, objects = matches.iou_thresholds[0], matches.objects[0]
    matched, ignored, detected = matches.matched[0, 0], matches.ignored[0, 0], matches.detected[0, 0]
    pairs = pairs_of_image(predicted, true, iou_type, least=min(BACKGROUND_IOU, threshold))
    pairs = pairs.where(objects[pairs.true] & ~(matched | ignored)[pairs.predicted])
    is_same = predicted.labels[pairs.predicted] == true.labels[pairs.true]
    same, other = _best(pairs.where(is_same), len(predicted)), _best(pairs.where(~is_same), len(predicted))
    duplicate = _best(pairs.where(is_same & detected[pairs.true]), len(predicted))
    false_positive = ~(matched | ignored)
    localization = false_positive & (same.iou >= BACKGROUND_IOU) & (same.iou <= threshold)
    classification = false_positive & ~localization & (other.iou >= threshold)
    background = np.maximum(same.iou, other.iou) <= BACKGROUND_IOU
    conditions = [matched, ignored, localization, classification, duplicate.iou >= threshold, background]
    names = ("localization", "classification", "duplicate", "background")
    chosen = [NO_ERROR, IGNORED, *(ERROR_KINDS.index(name) for name in names)]
    kinds = np.select(conditions, chosen, ERROR_KINDS.index("both"))
    explained = np.zeros(len(true), bool)
    explained[np.concatenate([same.true[localization], other.true[classification]])] = True
    undetected = objects & ~detected
    return DetectionErrors(kinds, undetected & ~explained, undetected)


class _Best(NamedTuple):
    """Highest IoU [L] of each prediction, and the row of this object [L]; 0 without objects."""

    iou: Floats
    true: NDArray[np.int64]


def _best(pairs: BoxPairs, predictions: int) -> _Best:
    order = np.lexsort([pairs.true, -pairs.iou, pairs.predicted])
    rows, first = np.unique(pairs.predicted[order], return_index=True)
    iou, true = np.zeros(predictions), np.zeros(predictions, np.int64)
    iou[rows], true[rows] = pairs.iou[order][first], pairs.true[order][first]
    return _Best(iou, true)
