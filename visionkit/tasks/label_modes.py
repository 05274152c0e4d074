"""The two ways in which classes belong to images: one each, or any number. Loss, scores and metrics of either."""

from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from visionkit.data.batch import Batch
from visionkit.data.splits import Needs
from visionkit.metrics.classification import MultiLabelMetrics, SingleLabelMetrics


class LabelMode(Protocol):
    """What the classification task asks about labels.

    Attributes:
        needs: what an image must have.
        in_words: the same for messages.
        metrics: the metric, made from the class names.
    """

    needs: ClassVar[Needs]
    in_words: ClassVar[str]
    metrics: ClassVar[type[nn.Module]]

    def targets(self, batch: Batch, classes: int, device: torch.device) -> Tensor:
        """The batch's truth, as `loss` and the metric take it."""
        ...

    def loss(self, logits: Tensor, targets: Tensor, weights: Tensor | None, smoothing: float) -> Tensor:
        """Mean loss of logits [B, K], each class weighted with `weights` [K]."""
        ...

    def probabilities(self, logits: Tensor) -> Tensor:
        """Scores in 0..1 from logits [B, K]."""
        ...


class SingleLabel:
    """One class an image: softmax and cross-entropy."""

    needs: ClassVar[Needs] = "label"
    in_words: ClassVar[str] = "one an image"
    metrics: ClassVar[type[nn.Module]] = SingleLabelMetrics

    def targets(self, batch: Batch, classes: int, device: torch.device) -> Tensor:
        """Class indices, int64 [B]."""
        return torch.tensor([target["label"] for target in batch.targets], device=device)

    def loss(self, logits: Tensor, targets: Tensor, weights: Tensor | None, smoothing: float) -> Tensor:
        """Cross-entropy; `targets` int64 [B], or float [B, K] where images were mixed."""
        return functional.cross_entropy(logits, targets, weights, label_smoothing=smoothing)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Softmax over the classes."""
        return logits.float().softmax(dim=1)


class MultiLabel:
    """Any number of classes an image: sigmoid and binary cross-entropy."""

    needs: ClassVar[Needs] = "tags"
    in_words: ClassVar[str] = "any number an image"
    metrics: ClassVar[type[nn.Module]] = MultiLabelMetrics

    def targets(self, batch: Batch, classes: int, device: torch.device) -> Tensor:
        """Float [B, K]: 1 where the class holds."""
        held = torch.zeros(len(batch.targets), classes, device=device)
        for row, target in zip(held, batch.targets, strict=True):
            row[target["tags"].to(device)] = 1
        return held

    def loss(self, logits: Tensor, targets: Tensor, weights: Tensor | None, smoothing: float) -> Tensor:
        """Binary cross-entropy; smoothing draws the truth towards one half."""
        softened = targets * (1 - smoothing) + smoothing / 2
        return functional.binary_cross_entropy_with_logits(logits, softened, weights)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Sigmoid of each class by itself."""
        return logits.float().sigmoid()


LABEL_MODES: dict[bool, type[LabelMode]] = {False: SingleLabel, True: MultiLabel}
"""By whether images have several classes."""
