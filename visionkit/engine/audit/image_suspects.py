"""Images whose class a quick model does not confirm, which was trained on the other images."""

import numpy as np
import torch
from numpy.typing import NDArray

from visionkit.data.stats.suspect_threshold import choose_threshold
from visionkit.engine.audit.class_margins import class_margins, describe_disagreement, wrong_classes
from visionkit.engine.audit.finding import CheckResult, Finding, checks
from visionkit.engine.audit.image_groups import reference
from visionkit.engine.audit.region_features import choose_images, region_features
from visionkit.engine.audit.subject import AuditImage, AuditSubject
from visionkit.ops.softmax_regression import out_of_fold_log_probabilities

FEWEST_IMAGES = 50
"""Number of images below which a quick model learns nothing."""


@checks.register("image_suspects")
def image_suspects(subject: AuditSubject) -> CheckResult | None:
    """Find wrong classes of images with a softmax regression on features of a pretrained backbone."""
    images = [image for image in choose_images(subject.images, subject.quick.most_images) if image.label is not None]
    labels = np.array([image.label for image in images], np.int64)
    if subject.has_objects or not len(images):
        return None
    backbone = subject.quick.backbone
    if backbone is None:
        return CheckResult(subject.quick.missing, was_made=False)
    if len(images) < FEWEST_IMAGES or len(np.unique(labels)) < 2:
        return CheckResult(f"fewer than {FEWEST_IMAGES} images with a class, or a single class", was_made=False)
    logs = _predict(subject, images, labels, backbone.native_size)
    present, compact = np.unique(labels, return_inverse=True)
    scores = class_margins(logs, compact)
    wrong = wrong_classes(compact, len(present))
    chosen = choose_threshold(scores, np.arange(len(images)), class_margins(logs, wrong), len(images), 0.0)
    suspects = np.flatnonzero(scores < chosen.threshold)
    names = [subject.class_names[label] for label in present]
    findings = [
        Finding(
            "suspect classes of images",
            "warning",
            describe_disagreement(logs[row], int(compact[row]), names),
            (reference(images[row]),),
        )
        for row in suspects[np.argsort(scores[suspects])].tolist()
    ]
    accuracy = 100 * float(np.mean(logs.argmax(axis=1) == compact))
    text = f"{len(images)} images; the model has an accuracy of {accuracy:.0f} %"
    return CheckResult(f"{text}; {chosen.describe('classes')}", findings)


def _predict(
    subject: AuditSubject, images: list[AuditImage], labels: NDArray[np.int64], side: int
) -> NDArray[np.float32]:
    """Return log probabilities of the classes that occur, float32 [N, K']."""
    whole = [np.array([[0, 0, image.size[1], image.size[0]]], np.float32) for image in images]
    features = torch.cat(region_features(subject, images, whole, side))
    present, compact = np.unique(labels, return_inverse=True)
    groups = {image.digest: number for number, image in enumerate(images)}  # copies stay in one fold
    owners = torch.tensor([groups[image.digest] for image in images])
    return out_of_fold_log_probabilities(features, torch.from_numpy(compact), owners, len(present)).numpy()
