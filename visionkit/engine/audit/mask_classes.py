"""Semantic masks without any class, and copies of one mask for different images."""

from collections import defaultdict

import numpy as np

from visionkit.engine.audit.finding import CheckResult, Finding, checks
from visionkit.engine.audit.image_groups import reference
from visionkit.engine.audit.subject import AuditImage, AuditSubject
from visionkit.ops.ignore import IGNORE

MOSTLY_IGNORED = 0.95
"""Share of ignored pixels from which hardly a pixel of an image counts in the loss."""


@checks.register("mask_classes")
def mask_classes(subject: AuditSubject) -> CheckResult | None:
    """Find masks that are ignored as a whole, and masks that several different images have in common."""
    masked = [image for image in subject.images if image.pixels is not None]
    if not masked:
        return None
    findings = [*filter(None, map(_ignored, masked)), *_shared(masked)]
    return CheckResult(f"{len(masked)} masks read", findings)


def _ignored(image: AuditImage) -> Finding | None:
    assert image.pixels is not None
    share = image.pixels[IGNORE] / max(image.pixels.sum(), 1)
    if share < MOSTLY_IGNORED:
        return None
    return Finding("ignored masks", "warning", f"{100 * share:.0f} % of the mask is ignored", (reference(image),))


def _shared(masked: list[AuditImage]) -> list[Finding]:
    by_digest = defaultdict(list)
    for image in masked:
        assert image.pixels is not None
        if np.count_nonzero(image.pixels) > 1:  # masks of a single class are alike without being copies
            by_digest[image.mask_digest].append(image)
    findings = []
    for images in by_digest.values():
        if len({image.digest for image in images}) > 1:
            text = f"{len(images)} different images have the same mask"
            findings.append(Finding("one mask for several images", "error", text, tuple(map(reference, images))))
    return findings
