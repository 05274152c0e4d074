"""Classes without examples, and classes with few."""

import numpy as np
from numpy.typing import NDArray

from visionkit.engine.audit.finding import CheckResult, Finding, Severity, checks
from visionkit.engine.audit.subject import AuditImage, AuditSubject
from visionkit.text import format_list

FEW = 10
"""Number of training examples below which a class cannot be learned reliably, nor validated."""

IMBALANCE = 100
"""Ratio of the largest to the smallest class from which balanced sampling or class weights should be tried."""


def count_classes(images: list[AuditImage], classes: int) -> NDArray[np.int64]:
    """Return the number of examples of each class, int64 [K]: objects, else images, else images with it in the mask."""
    counts = np.zeros(classes, np.int64)
    for image in images:
        if len(image.annotation):
            counts += np.bincount(image.annotation.labels, minlength=classes)
        elif image.label is not None:
            counts[image.label] += 1
        elif image.pixels is not None:
            counts += image.pixels[:classes] > 0
        elif image.tags is not None:
            counts[image.tags] += 1
    return counts


@checks.register("class_balance")
def class_balance(subject: AuditSubject) -> CheckResult:
    """Find classes without examples, with few, and a large imbalance."""
    names, splits = subject.class_names, [*subject.datasets]
    counts = {split: count_classes(subject.of_split(split), len(names)) for split in splits}
    findings = []
    for split, found in counts.items():
        absent = [names[label] for label in np.flatnonzero(found == 0)]
        if absent and found.any():
            severity: Severity = "warning" if split == "train" else "note"
            text = f"{split}: {len(absent)} of {len(names)} classes have no example: {format_list(absent)}"
            findings.append(Finding("classes without examples", severity, text))
    main = counts.get("train", counts[splits[0]])
    few = [f"{names[label]} {main[label]}" for label in np.flatnonzero((main > 0) & (main < FEW))]
    if few:
        text = f"{len(few)} of {len(names)} classes have fewer than {FEW} training examples: {format_list(few)}"
        findings.append(Finding("classes with few examples", "note", text))
    present = main[main > 0]
    ratio = float(present.max() / present.min()) if len(present) else 1.0
    if ratio >= IMBALANCE:
        text = f"{names[int(main.argmax())]} has {ratio:.0f} times as many examples as the smallest class"
        findings.append(Finding("class imbalance", "note", text))
    return CheckResult(
        f"{len(names)} classes; the largest has {ratio:.0f} times the examples of the smallest", findings
    )
