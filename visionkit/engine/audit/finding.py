"""Findings of an audit, and the registry of the checks that make them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from visionkit.engine.audit.subject import AuditSubject
from visionkit.registry import Registry

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""From the gravest. An error makes the metrics wrong or stops training, and is certain. A warning is probably a fault,
and should be looked at. A note describes the data as a whole."""


@dataclass(frozen=True)
class ImageRef:
    """An image of a finding.

    Attributes:
        split: its split.
        index: its index in the split.
        objects: indices of the objects that the finding is about.
    """

    split: str
    index: int
    objects: tuple[int, ...] = ()


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a dataset, or should be looked at.

    Attributes:
        kind: kind of the finding ("duplicate images across splits").
        severity: see `SEVERITIES`.
        message: what was found, with the numbers that were measured.
        images: the images, those with the fault first; empty for findings about a split or a class.
        related: images for comparison, such as the other copies.
        excluded: images, or objects of images, that a cleaned card leaves out: only where no judgment is needed.

    Example:
        >>> from visionkit.engine.audit.finding import Finding, ImageRef
        >>> Finding("tiny boxes", "warning", "2 x 3 px", (ImageRef("train", 7, (0,)),)).images[0].index
        7
    """

    kind: str
    severity: Severity
    message: str
    images: tuple[ImageRef, ...] = ()
    related: tuple[ImageRef, ...] = ()
    excluded: tuple[ImageRef, ...] = ()


@dataclass
class CheckResult:
    """Result of one check.

    Attributes:
        measured: what was compared, in one line, also if nothing was found; or why the check was not made.
        findings: the findings.
        was_made: whether the check could be made.
    """

    measured: str
    findings: list[Finding] = field(default_factory=list)
    was_made: bool = True


Check = Callable[[AuditSubject], CheckResult | None]
"""Function that checks a dataset. None means that the check does not concern this kind of data."""

checks: Registry[Check] = Registry("audit check", "visionkit.engine.audit")
"""Checks by name, in whose order they are made."""
