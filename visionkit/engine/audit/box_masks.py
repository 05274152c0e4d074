"""Boxes that are not those around the masks of their objects."""

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as rle

from visionkit.engine.audit.finding import CheckResult, Finding, checks
from visionkit.engine.audit.image_groups import reference
from visionkit.engine.audit.subject import AuditImage, AuditSubject
from visionkit.ops.boxes import paired_iou
from visionkit.structures import Annotation

FITS = 0.8
"""IoU of a box with the box around its mask from which the two fit. The boxes of COCO have 0.9 and more."""

ROUNDING = 3.0
"""Largest difference in pixels of the edges of small boxes that fit."""


@checks.register("box_masks")
def box_masks(subject: AuditSubject) -> CheckResult | None:
    """Find boxes that do not fit the masks of their objects."""
    images = [image for image in subject.images if image.annotation.masks]
    if not images:
        return None
    findings = [finding for image in images for finding in _check(image, subject.class_names)]
    return CheckResult(f"{sum(len(image.annotation) for image in images)} boxes compared with their masks", findings)


def overlap_with_masks(annotation: Annotation) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the IoU of each box with the box around its mask, float32 [N], and whether they fit, bool [N].

    Without masks, nothing fits.
    """
    if not annotation.masks:
        return np.zeros(len(annotation), np.float32), np.zeros(len(annotation), bool)
    around = np.asarray(rle.toBbox(annotation.masks), np.float32).reshape(-1, 4)
    around[:, 2:] += around[:, :2]
    overlap = paired_iou(torch.from_numpy(annotation.boxes), torch.from_numpy(around)).numpy()
    apart = np.abs(annotation.boxes - around).max(axis=1)
    return overlap, (overlap >= FITS) | (apart <= ROUNDING)


def _check(image: AuditImage, names: list[str]) -> list[Finding]:
    annotation = image.annotation
    overlap, fits = overlap_with_masks(annotation)
    wrong = ~fits & ~annotation.crowd
    return [
        Finding(
            "boxes that do not fit their mask",
            "warning",
            f"{names[annotation.labels[index]]}: IoU {overlap[index]:.2f} with the box around its mask",
            (reference(image, (index,)),),
        )
        for index in np.flatnonzero(wrong).tolist()
    ]
