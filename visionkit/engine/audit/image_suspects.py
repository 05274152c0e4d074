"""Images whose class a quick model does not confirm, which was trained on the other images."""

import numpy as np
import torch
from numpy.typing import NDArray

from visionkit.data.stats.suspect_threshold import choose_threshold
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
    scores = _margin(logs, compact)
    wrong = (compact + np.random.default_rng(0).integers(1, len(present), len(labels))) % len(present)
    chosen = choose_threshold(scores, np.arange(len(images)), _margin(logs, wrong), len(images), 0.0)
    suspects = np.flatnonzero(scores < chosen.threshold)
    findings = [
        _finding(images[row], logs[row], int(compact[row]), present, subject.class_names)
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


def _margin(logs: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
    own = np.take_along_axis(logs, labels[:, None], axis=1)[:, 0]
    others = logs.copy()
    np.put_along_axis(others, labels[:, None], -np.inf, axis=1)
    return own - others.max(axis=1)


def _finding(
    image: AuditImage, logs: NDArray[np.float32], own: int, present: NDArray[np.int64], names: list[str]
) -> Finding:
    guess = int(logs.argmax())
    text = (
        f"{names[present[own]]}, but the model says {names[present[guess]]} with probability {np.exp(logs[guess]):.2f} "
        f"({names[present[own]]} {np.exp(logs[own]):.3f})"
    )
    return Finding("suspect classes of images", "warning", text, (reference(image),))
