"""What a cleaned data card leaves out: images and objects whose fault needs no judgment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from visionkit.data.exclude import ExcludeOptions
from visionkit.engine.audit.finding import Finding
from visionkit.engine.audit.run import AuditReport

DECIMALS = 2
"""Decimals of the corners in a card, which are compared with a tolerance of half a pixel."""


@dataclass
class Cleaning:
    """Images and objects to leave out.

    Attributes:
        exclude: what is left out of each split.
        reasons: number of images and objects by kind of finding.
    """

    exclude: dict[str, ExcludeOptions]
    reasons: dict[str, tuple[int, int]]

    def as_values(self) -> dict[str, Any]:
        """Return the value of `data.exclude` in a card."""
        return {
            split: {key: value for key, value in (("images", own.images), ("boxes", own.boxes)) if value}
            for split, own in self.exclude.items()
            if own.images or own.boxes
        }


def clean(report: AuditReport, earlier: Mapping[str, ExcludeOptions]) -> Cleaning:
    """Return what a card should leave out after an audit.

    Args:
        report: result of the audit.
        earlier: what the card leaves out already, which stays left out.
    """
    subject = report.subject
    exclude = {
        split: ExcludeOptions([*own.images], {name: [*boxes] for name, boxes in own.boxes.items()})
        for split, own in earlier.items()
    }
    images = {(image.split, image.index): image for image in subject.images}
    gone = {(ref.split, ref.index) for found in report.findings for ref in found.excluded if not ref.objects}
    reasons: dict[str, tuple[int, int]] = {}
    listed: set[tuple[str, int]] = set()
    for finding in report.findings:
        counts = [0, 0]
        for ref in finding.excluded:
            image, own = images[ref.split, ref.index], exclude.setdefault(ref.split, ExcludeOptions())
            if not ref.objects and (ref.split, ref.index) not in listed:
                own.images.append(image.name)
                listed.add((ref.split, ref.index))
                counts[0] += 1
            elif ref.objects and (ref.split, ref.index) not in gone:
                corners = image.annotation.boxes[list(ref.objects)].astype(float).round(DECIMALS).tolist()
                own.boxes.setdefault(image.name, []).extend(corners)
                counts[1] += len(corners)
        _add(reasons, finding, counts)
    return Cleaning(exclude, reasons)


def _add(reasons: dict[str, tuple[int, int]], finding: Finding, counts: list[int]) -> None:
    if any(counts):
        before = reasons.get(finding.kind, (0, 0))
        reasons[finding.kind] = (before[0] + counts[0], before[1] + counts[1])
