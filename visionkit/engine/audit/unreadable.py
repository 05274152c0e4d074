"""Images that cannot be used, and boxes that the reader had to clip or drop."""

from collections import defaultdict

from visionkit.engine.audit.finding import CheckResult, Finding, ImageRef, checks
from visionkit.engine.audit.subject import AuditSubject, find_image


@checks.register("unreadable_images")
def unreadable_images(subject: AuditSubject) -> CheckResult:
    """Find images that are missing, truncated or broken, or do not fit their annotation or mask."""
    findings = []
    for image in subject.images:
        if image.problem:
            ref = ImageRef(image.split, image.index)
            findings.append(Finding("unreadable images", "error", image.problem, (ref,), excluded=(ref,)))
    return CheckResult(f"{len(subject.images)} images decoded", findings)


@checks.register("repaired_boxes")
def repaired_boxes(subject: AuditSubject) -> CheckResult | None:
    """Find boxes without area, with swapped corners, or that end outside their image: readers drop or clip them."""
    if not subject.has_objects:
        return None
    by_image = defaultdict(list)
    for split, repairs in subject.repairs.items():
        for repair in repairs:
            by_image[split, repair.image].append(repair)
    findings = []
    for (split, name), repairs in by_image.items():
        image = find_image(subject.images, split, name)
        refs = () if image is None else (ImageRef(image.split, image.index),)
        listed = "; ".join(f"{_corners(repair.box)}: {repair.reason}" for repair in repairs[:3])
        more = f"; {len(repairs) - 3} more" if len(repairs) > 3 else ""
        prefix = "" if refs else f"{name}: "
        findings.append(Finding("boxes repaired by the reader", "warning", f"{prefix}{listed}{more}", refs))
    return CheckResult(f"{sum(map(len, by_image.values()))} boxes dropped, or clipped by more than 2 px", findings)


def _corners(box: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in box)
