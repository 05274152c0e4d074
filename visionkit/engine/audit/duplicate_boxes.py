"""Objects that are annotated twice, and boxes of two classes at one place."""

import numpy as np
import torch
from pycocotools import mask as rle
from torchvision.ops import box_iou

from visionkit.engine.audit.finding import CheckResult, Finding, checks
from visionkit.engine.audit.image_groups import reference
from visionkit.engine.audit.subject import AuditImage, AuditSubject
from visionkit.structures import Annotation

SAME = 0.98
"""IoU from which two boxes of a class are the same: rounding alone makes less of a difference above 50 pixels."""

ROUNDING = 1.0
"""Largest difference in pixels of the corners of small boxes that are the same."""

NEARLY = 0.7
"""IoU from which two boxes of a class are probably one object. Different objects of one class overlap as much in 2 of
88 images of COCO and 3 of 315 of VOC; a copy that is moved by a tenth of its size has an IoU of 0.75."""

SAME_MASK = 0.5
"""IoU of two masks below which they are those of two objects, whatever the IoU of their boxes is."""

CONFLICT = 0.8
"""IoU from which boxes of two classes are at one place: the most that different objects have in VOC is 0.75."""


@checks.register("duplicate_boxes")
def duplicate_boxes(subject: AuditSubject) -> CheckResult | None:
    """Find boxes that occur twice, nearly twice, or with two classes. Crowds are left out."""
    if not subject.has_objects:
        return None
    findings = [finding for image in subject.images for finding in _pairs(image, subject.class_names)]
    objects = sum(len(image.annotation) for image in subject.images)
    return CheckResult(f"{objects} boxes compared within their images", findings)


def _masks_differ(annotation: Annotation, one: int, other: int) -> bool:
    """Return whether two objects have masks that are mostly apart: two animals side by side."""
    if not annotation.masks:
        return False
    return float(rle.iou([annotation.masks[one]], [annotation.masks[other]], [0])[0, 0]) < SAME_MASK


def _pairs(image: AuditImage, names: list[str]) -> list[Finding]:
    annotation = image.annotation
    kept = np.flatnonzero(~annotation.crowd)
    if len(kept) < 2:
        return []
    boxes = torch.from_numpy(annotation.boxes[kept])
    overlap = box_iou(boxes, boxes).triu(diagonal=1).numpy()
    firsts, seconds = np.nonzero(overlap >= NEARLY)
    findings: list[Finding] = []
    gone: set[int] = set()
    for first, second in zip(firsts.tolist(), seconds.tolist(), strict=True):
        one, other, iou = int(kept[first]), int(kept[second]), float(overlap[first, second])
        labels = annotation.labels[[one, other]].tolist()
        both = reference(image, (one, other))
        if labels[0] != labels[1]:
            if iou >= CONFLICT:
                text = f"{names[labels[0]]} and {names[labels[1]]} at one place, IoU {iou:.2f}"
                findings.append(Finding("boxes of two classes at one place", "warning", text, (both,)))
        elif iou >= SAME or np.abs(annotation.boxes[one] - annotation.boxes[other]).max() <= ROUNDING:
            excluded = () if other in gone else (reference(image, (other,)),)
            gone.add(other)
            text = f"{names[labels[0]]} twice at the same place, IoU {iou:.2f}"
            findings.append(Finding("duplicate boxes", "error", text, (both,), excluded=excluded))
        elif not _masks_differ(annotation, one, other):
            text = f"{names[labels[0]]} twice at nearly the same place, IoU {iou:.2f}"
            findings.append(Finding("near-duplicate boxes", "warning", text, (both,)))
    return findings
