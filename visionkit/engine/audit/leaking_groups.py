"""Groups of images that file names tell, such as the frames of a video, with images in several splits."""

import re
from collections import defaultdict
from pathlib import PurePath

import numpy as np

from visionkit.data.holdout_groups import AUTO, NONE, find_groups, group_name, is_copy
from visionkit.data.stats.image_descriptors import describe
from visionkit.engine.audit.finding import CheckResult, Finding, Severity, checks
from visionkit.engine.audit.image_groups import kept_split, reference
from visionkit.engine.audit.subject import AuditImage, AuditSubject

LARGEST_SHARE = 0.5
"""Largest share of the images in a group that numbered names tell. A larger one is a habit of naming ("IMG_0001"),
which says nothing."""

ALIKE_SHARE = 0.5
"""Share of the images of a group whose most similar image in the other splits is one of the group. Then the images
themselves confirm what the names say. By chance, this share is that of the group in the dataset, half of which is
added."""

UNCONFIRMED_SHARE, MOST_UNCONFIRMED = 0.1, 5
"""Largest share of a group, and largest number of groups, that give warnings without such a confirmation."""

MOST_EXCLUDED = 0.2
"""Largest share of a split that a cleaned card leaves out for one scene. If it is larger, the dataset needs another
split rather than a cleaned one."""

NAMED = re.compile(r"[A-Za-z]")


@checks.register("leaking_groups")
def leaking_groups(subject: AuditSubject) -> CheckResult:
    """Find groups of images of one scene in several splits."""
    images = subject.images
    if len({image.split for image in images}) < 2:
        return CheckResult("only one split", was_made=False)
    if subject.group_rule == NONE:
        return CheckResult("the rule of groups is none", was_made=False)
    groups = _by_rule(subject) if subject.group_rule != AUTO else _by_name(images)
    leaking = {name: members for name, members in groups.items() if len({image.split for image in members}) > 1}
    nearest = _nearest_elsewhere(subject.readable()) if leaking else {}
    found = [
        finding
        for name, members in leaking.items()
        if (finding := _finding(name, members, nearest, subject)) is not None
    ]
    unsure = [finding for finding in found if finding.severity != "error"]
    findings = [finding for finding in found if finding.severity == "error" or len(unsure) <= MOST_UNCONFIRMED]
    if len(unsure) > MOST_UNCONFIRMED:
        text = (
            f"{len(unsure)} groups of names that differ in their last number are in several splits, and their images "
            "are not alike; if they belong together, give a rule: --groups"
        )
        findings.append(Finding("names of one group in several splits", "note", text))
    return CheckResult(f"{len(groups)} groups of names, {len(leaking)} of them in several splits", findings)


def _by_rule(subject: AuditSubject) -> dict[str, list[AuditImage]]:
    paths = [PurePath(image.name) for image in subject.images]
    found = find_groups(paths, np.full(len(paths), -1), subject.group_rule)
    groups = defaultdict(list)
    assert found is not None  # only the rule none, or no path, gives no groups
    for number, image in zip(found.indices.tolist(), subject.images, strict=True):
        groups[f"group {number} of {subject.group_rule}"].append(image)
    return dict(groups)


def _by_name(images: list[AuditImage]) -> dict[str, list[AuditImage]]:
    """Return groups of images whose file names differ only in their last number, or are copies that Roboflow made."""
    groups = defaultdict(list)
    for image in images:
        name = group_name(PurePath(image.name))
        if NAMED.search(name):
            groups[name].append(image)
    most = LARGEST_SHARE * len(images)
    return {name: members for name, members in groups.items() if 1 < len(members) <= most}


def _finding(
    name: str, members: list[AuditImage], nearest: dict[tuple[str, int], AuditImage], subject: AuditSubject
) -> Finding | None:
    """Return a finding about a group; None if nothing but a habit of naming says that the images belong together."""
    stays = kept_split(members)
    leaking = tuple(reference(image) for image in members if image.split != stays)
    staying = tuple(reference(image) for image in members if image.split == stays)
    own = {(image.split, image.index) for image in members}
    near = [nearest[key] for key in own if key in nearest]
    alike = float(np.mean([(image.split, image.index) in own for image in near])) if near else 0.0
    share = len(members) / len(subject.images)
    is_said = subject.group_rule != AUTO or all(is_copy(PurePath(image.name)) for image in members)
    severity: Severity = "error" if is_said or alike >= ALIKE_SHARE + share / 2 else "warning"
    if severity == "warning" and share > UNCONFIRMED_SHARE:
        return None
    splits = " and ".join(dict.fromkeys(image.split for image in members))
    evidence = f"the most similar image of another split is one of the group for {100 * alike:.0f} % of them"
    message = f"{len(members)} images of {name!r} in {splits}; {evidence}"
    is_small = all(
        sum(ref.split == split for ref in leaking) <= MOST_EXCLUDED * len(dataset)
        for split, dataset in subject.datasets.items()
    )
    excluded = leaking if severity == "error" and is_small else ()
    return Finding("images of one scene across splits", severity, message, leaking, staying, excluded)


def _nearest_elsewhere(images: list[AuditImage]) -> dict[tuple[str, int], AuditImage]:
    """Return the most similar image in the other splits for each image."""
    thumbnails = [image.thumbnail for image in images if image.thumbnail is not None]
    described = describe(np.stack(thumbnails))
    splits = np.array([image.split for image in images])
    nearest = {}
    for split in np.unique(splits):
        inside, outside = np.flatnonzero(splits == split), np.flatnonzero(splits != split)
        for start in range(0, len(inside), 1024):
            rows = inside[start : start + 1024]
            best = outside[(described[rows] @ described[outside].T).argmax(axis=1)]
            nearest.update({(images[r].split, images[r].index): images[b] for r, b in zip(rows, best, strict=True)})
    return nearest
