"""Targets, loss and metrics for one label per image and for any number of labels."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from visionkit.data.batch import Batch
from visionkit.data.datasets.base import RequiredAnnotation
from visionkit.metrics.classification import ClassificationMetrics, MultiLabelMetrics, SingleLabelMetrics
from visionkit.metrics.scored_labels import ScoredLabels, ScoredMultiLabels, ScoredSingleLabels

ImageOutputs = Mapping[int | str, tuple[Tensor, Tensor]]
"""Probabilities [K] and target of each image by id."""


class LabelMode(Protocol):
    """Targets, loss and metric of one kind of labels.

    Attributes:
        required: annotation that an image must have.
        in_words: description of the labels, for messages.
        metrics: class of the metric.
    """

    required: ClassVar[RequiredAnnotation]
    in_words: ClassVar[str]
    metrics: ClassVar[type[ClassificationMetrics]]

    def targets(self, batch: Batch, classes: int, device: torch.device) -> Tensor:
        """Return the targets of a batch in the form that `loss` and the metric take."""
        ...

    def loss(self, logits: Tensor, targets: Tensor, weights: Tensor | None, smoothing: float) -> Tensor:
        """Return the mean loss of logits [B, K] with class weights [K]."""
        ...

    def scored(self, images: ImageOutputs, class_names: Sequence[str], thresholds: Sequence[float]) -> ScoredLabels:
        """Return scored images; the thresholds of the classes only matter for several labels per image."""
        ...


class SingleLabel:
    """One class per image: cross-entropy."""

    required: ClassVar[RequiredAnnotation] = "label"
    in_words: ClassVar[str] = "one label per image"
    metrics: ClassVar[type[ClassificationMetrics]] = SingleLabelMetrics

    def targets(self, batch: Batch, classes: int, device: torch.device) -> Tensor:
        """Return class indices, int64 [B]."""
        return torch.tensor([target["label"] for target in batch.targets], device=device)

    def loss(self, logits: Tensor, targets: Tensor, weights: Tensor | None, smoothing: float) -> Tensor:
        """Return the cross-entropy for targets int64 [B], or float [B, K] if images were mixed."""
        return functional.cross_entropy(logits, targets, weights, label_smoothing=smoothing)

    def scored(self, images: ImageOutputs, class_names: Sequence[str], thresholds: Sequence[float]) -> ScoredLabels:
        """See `LabelMode.scored`."""
        return ScoredSingleLabels(images, class_names)


class MultiLabel:
    """Any number of classes per image: binary cross-entropy."""

    required: ClassVar[RequiredAnnotation] = "tags"
    in_words: ClassVar[str] = "any number of labels per image"
    metrics: ClassVar[type[ClassificationMetrics]] = MultiLabelMetrics

    def targets(self, batch: Batch, classes: int, device: torch.device) -> Tensor:
        """Return float [B, K], which is 1 for the classes of the image and 0 otherwise."""
        held = torch.zeros(len(batch.targets), classes, device=device)
        for row, target in zip(held, batch.targets, strict=True):
            row[target["tags"].to(device)] = 1
        return held

    def loss(self, logits: Tensor, targets: Tensor, weights: Tensor | None, smoothing: float) -> Tensor:
        """Return the binary cross-entropy. Smoothing moves the targets toward 0.5."""
        softened = targets * (1 - smoothing) + smoothing / 2
        return functional.binary_cross_entropy_with_logits(logits, softened, weights)

    def scored(self, images: ImageOutputs, class_names: Sequence[str], thresholds: Sequence[float]) -> ScoredLabels:
        """See `LabelMode.scored`."""
        return ScoredMultiLabels(images, class_names, thresholds)


LABEL_MODES: dict[bool, type[LabelMode]] = {False: SingleLabel, True: MultiLabel}
"""Label modes by `ClassificationModel.multi_label`, which is true if images have several classes."""
