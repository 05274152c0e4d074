"""Run of all checks of an audit."""

import time
from dataclasses import dataclass
from typing import NamedTuple

from visionkit.engine.audit.finding import SEVERITIES, CheckResult, Finding, Severity, checks
from visionkit.engine.audit.subject import AuditSubject


class MadeCheck(NamedTuple):
    """A check, what it found, and the seconds it took."""

    name: str
    result: CheckResult
    seconds: float


@dataclass(frozen=True)
class AuditReport:
    """Result of an audit.

    Attributes:
        subject: the dataset.
        made: the checks that concern this kind of data.
    """

    subject: AuditSubject
    made: list[MadeCheck]

    @property
    def findings(self) -> list[Finding]:
        """All findings, the gravest first."""
        found = [finding for made in self.made for finding in made.result.findings]
        return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))

    @property
    def by_kind(self) -> dict[str, list[Finding]]:
        """Findings by kind, the gravest kinds first."""
        kinds: dict[str, list[Finding]] = {}
        for finding in self.findings:
            kinds.setdefault(finding.kind, []).append(finding)
        return kinds

    def count(self, severity: Severity) -> int:
        """Return the number of findings of a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def flagged_images(self) -> set[tuple[str, int]]:
        """Return split and index of the images with errors and warnings."""
        return {
            (ref.split, ref.index) for finding in self.findings if finding.severity != "note" for ref in finding.images
        }


def run_audit(subject: AuditSubject) -> AuditReport:
    """Run all checks.

    Example:
        >>> import visionkit as vk
        >>> from visionkit.engine.audit.run import run_audit
        >>> from visionkit.engine.audit.subject import read_subject
        >>> data = vk.VisionData("shapes", splits={"train": {"count": 4, "size": 64}}, num_workers=0)
        >>> run_audit(read_subject(data)).count("error")
        0
    """
    made = []
    for name in checks:
        start = time.monotonic()
        result = checks.get(name)(subject)
        if result is not None:
            made.append(MadeCheck(name, result, time.monotonic() - start))
    return AuditReport(subject, made)
