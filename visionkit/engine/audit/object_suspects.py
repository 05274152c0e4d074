"""Objects whose class or box a quick model does not confirm, which was trained on the other images."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from visionkit.data.stats.suspect_threshold import SuspectThreshold, choose_threshold
from visionkit.engine.audit.class_margins import class_margins, describe_disagreement, wrong_classes
from visionkit.engine.audit.finding import CheckResult, Finding, checks
from visionkit.engine.audit.image_groups import reference
from visionkit.engine.audit.region_features import choose_images, region_features
from visionkit.engine.audit.simulated_faults import faults_per_box, simulate_faults
from visionkit.engine.audit.subject import AuditImage, AuditSubject
from visionkit.ops.softmax_regression import out_of_fold_log_probabilities

ENLARGED = 2
"""Side of the input as a multiple of the network's own: objects are smaller than the images of ImageNet."""

FEWEST_OBJECTS = 50
"""Number of objects below which a quick model learns nothing."""

PENALTY = 0.1

HIGHEST_LOG = float(np.log(0.5))
"""Log probability of being an object from which no box is suspect: the model takes it for an object."""


class _Examples(NamedTuple):
    """Annotated and simulated boxes with their predictions.

    Attributes:
        owners: int64 [N], position of the image of each annotated box.
        objects: int64 [N], index of each annotated box in its image.
        labels: int64 [N], class of each annotated box.
        is_clear: bool [N], False for difficult objects, which are no suspects.
        logs: float32 [N, K + 1], log probability of each class, and of not being an object.
        faulty: float32 [M, K + 1], the same for simulated boxes.
    """

    owners: NDArray[np.int64]
    objects: NDArray[np.int64]
    labels: NDArray[np.int64]
    is_clear: NDArray[np.bool_]
    logs: NDArray[np.float32]
    faulty: NDArray[np.float32]


@checks.register("object_suspects")
def object_suspects(subject: AuditSubject) -> CheckResult | None:
    """Find wrong classes and misplaced boxes with a softmax regression on features of a pretrained backbone.

    The model tells the classes and simulated faulty boxes from each other (shifted, larger, smaller, elsewhere, with x
    and y swapped). Each object is predicted by a model that was trained without its image.
    """
    if not subject.has_objects:
        return None
    quick = subject.quick
    if quick.backbone is None:
        return CheckResult(quick.missing, was_made=False)
    images = [image for image in choose_images(subject.images, quick.most_images) if (~image.annotation.crowd).any()]
    if sum(int((~image.annotation.crowd).sum()) for image in images) < FEWEST_OBJECTS:
        return CheckResult(f"fewer than {FEWEST_OBJECTS} objects", was_made=False)
    examples = _predict(subject, images, ENLARGED * quick.backbone.native_size)
    labels = _Suspicion.of_labels(examples, len(images))
    boxes = _Suspicion.of_boxes(examples, len(images))
    findings = [*_about_labels(labels, examples, images, subject.class_names)]
    named = {(ref.split, ref.index, ref.objects) for finding in findings for ref in finding.images}
    for finding in _about_boxes(boxes, examples, images, subject.class_names):
        ref = finding.images[0]
        if (ref.split, ref.index, ref.objects) not in named:
            findings.append(finding)
    told = f"{labels.chosen.describe('classes')}; {boxes.chosen.describe('boxes')}"
    return CheckResult(f"{len(examples.labels)} objects of {len(images)} images; {told}", findings)


class _Suspicion(NamedTuple):
    """Score of each annotated box, the lower the more suspect, with its threshold."""

    scores: NDArray[np.float32]
    chosen: SuspectThreshold

    @classmethod
    def of_labels(cls, examples: _Examples, images: int) -> "_Suspicion":
        """Score the classes: log probability of the own class minus the largest of another one."""
        classes = examples.logs[:, :-1]
        scores = class_margins(classes, examples.labels)
        present = np.unique(examples.labels)
        if len(present) < 2:
            return cls(scores, SuspectThreshold(-np.inf, 0.0, 0.0))
        wrong = present[wrong_classes(np.searchsorted(present, examples.labels), len(present))]
        clear = examples.is_clear
        simulated = class_margins(classes, wrong)[clear]
        return cls(scores, choose_threshold(scores[clear], examples.owners[clear], simulated, images, 0.0))

    @classmethod
    def of_boxes(cls, examples: _Examples, images: int) -> "_Suspicion":
        """Score the boxes: log probability of being an object."""
        scores, clear = _is_object(examples.logs), examples.is_clear
        simulated = _is_object(examples.faulty)
        chosen = choose_threshold(scores[clear], examples.owners[clear], simulated, images, HIGHEST_LOG)
        return cls(scores, chosen)


def _predict(subject: AuditSubject, images: list[AuditImage], side: int) -> _Examples:
    kept = [np.flatnonzero(~image.annotation.crowd) for image in images]
    own = [image.annotation.boxes[rows] for image, rows in zip(images, kept, strict=True)]
    per_box = faults_per_box(sum(map(len, own)))
    faulty = [simulate_faults(image, boxes, per_box) for image, boxes in zip(images, own, strict=True)]
    joined = [np.concatenate(pair) for pair in zip(own, faulty, strict=True)]
    features = torch.cat(region_features(subject, images, joined, side))
    labels = np.concatenate([image.annotation.labels[rows] for image, rows in zip(images, kept, strict=True)])
    is_own = np.concatenate([np.arange(len(both)) < len(mine) for both, mine in zip(joined, own, strict=True)])
    owners = np.repeat(np.arange(len(images)), [len(both) for both in joined])
    present, compact = np.unique(labels, return_inverse=True)
    targets = np.full(len(is_own), len(present))
    targets[is_own] = compact
    logs = out_of_fold_log_probabilities(
        features, torch.from_numpy(targets), torch.from_numpy(owners), len(present) + 1, PENALTY
    )
    spread = _spread(logs, present, len(subject.class_names)).numpy()
    clear = [~image.annotation.difficult[rows] for image, rows in zip(images, kept, strict=True)]
    return _Examples(
        owners[is_own], np.concatenate(kept), labels, np.concatenate(clear), spread[is_own], spread[~is_own]
    )


def _spread(logs: Tensor, present: NDArray[np.int64], classes: int) -> Tensor:
    """Return log probabilities [N, K + 1] for all classes; those without objects have minus infinity."""
    result = torch.full((len(logs), classes + 1), -torch.inf)
    result[:, torch.from_numpy(np.append(present, classes))] = logs
    return result


def _is_object(logs: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.logaddexp.reduce(logs[:, :-1], axis=1)


def _about_labels(
    suspicion: _Suspicion, examples: _Examples, images: list[AuditImage], names: list[str]
) -> list[Finding]:
    return [
        _finding(
            "suspect classes of objects",
            describe_disagreement(examples.logs[row, :-1], int(examples.labels[row]), names),
            row,
            examples,
            images,
        )
        for row in _suspects(suspicion, examples)
    ]


def _about_boxes(
    suspicion: _Suspicion, examples: _Examples, images: list[AuditImage], names: list[str]
) -> list[Finding]:
    return [
        _finding(
            "suspect boxes",
            f"{names[examples.labels[row]]}: the box looks like a misplaced one with probability "
            f"{np.exp(examples.logs[row, -1]):.2f}",
            row,
            examples,
            images,
        )
        for row in _suspects(suspicion, examples)
    ]


def _suspects(suspicion: _Suspicion, examples: _Examples) -> list[int]:
    """Return the suspects, the worst first."""
    rows = np.flatnonzero((suspicion.scores < suspicion.chosen.threshold) & examples.is_clear)
    return rows[np.argsort(suspicion.scores[rows])].tolist()


def _finding(kind: str, text: str, row: int, examples: _Examples, images: list[AuditImage]) -> Finding:
    image = images[examples.owners[row]]
    return Finding(kind, "warning", text, (reference(image, (int(examples.objects[row]),)),))
