"""Training objects that no anchor of a detector fits."""

import numpy as np
import torch

from visionkit.engine.audit.finding import CheckResult, Finding, checks
from visionkit.engine.audit.subject import AuditSubject
from visionkit.ops.anchor_iou import best_anchor_iou
from visionkit.tasks.training_checks import MOST_UNREACHED, REACHED_IOU

ADVICE = "visionkit data anchors CARD computes shapes for yolov2; for others, change the sizes or the input size"


@checks.register("anchor_fit")
def anchor_fit(subject: AuditSubject) -> CheckResult | None:
    """Compare the anchors of the recipe's detector with the shapes of the training objects at the input's scale."""
    if not subject.has_objects:
        return None
    if subject.anchors is None:
        return CheckResult("no detector with anchors: name its recipe before the card", was_made=False)
    anchors, objects = subject.anchors
    best = best_anchor_iou(torch.from_numpy(objects), torch.from_numpy(anchors)).numpy()
    missed = float(np.mean(best < REACHED_IOU)) if len(best) else 0.0
    reached = f"{100 * (1 - missed):.1f} % of {len(objects)} objects"
    measured = f"{len(anchors)} anchor shapes reach {reached} with IoU {REACHED_IOU}"
    if missed <= MOST_UNREACHED:
        return CheckResult(measured)
    smaller = float(np.mean(objects[best < REACHED_IOU].prod(axis=1) < anchors.prod(axis=1).min()))
    text = f"{100 * missed:.1f} % of the objects fit no anchor, {100 * smaller:.0f} % of these are smaller than all"
    return CheckResult(measured, [Finding("anchors that do not fit", "warning", f"{text}; {ADVICE}")])
