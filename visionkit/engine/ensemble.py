"""Several trained networks that answer together."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from visionkit.errors import CheckpointError
from visionkit.registry import Registry
from visionkit.structures import Prediction, Target
from visionkit.tasks import Classification, Detection, Segmentation, Task
from visionkit.tasks.detection_tta import refuse_masks

ensembles: Registry[Callable[[Sequence[Any]], Task]] = Registry("ensemble")
"""For each task whose networks can be averaged, what makes one task of several."""


def average(members: Sequence[Task]) -> Task:
    """One task that answers with the mean of what several say, each after its own preprocessing.

    Args:
        members: trained tasks of one kind, at least one. The first says how the mean is scored.

    Raises:
        CheckpointError: they are of different kinds or classes, or of a kind that cannot be averaged.
    """
    first = members[0]
    kinds = sorted({member.name for member in members})
    if len(kinds) > 1:
        raise CheckpointError(f"checkpoints of {' and '.join(kinds)} cannot be averaged: give those of one kind")
    if first.name not in ensembles:
        raise CheckpointError(
            f"checkpoints of {first.name} cannot be averaged: that is there for {', '.join(ensembles)} alone so far\n"
            "give one checkpoint"
        )
    for number, member in enumerate(members[1:], start=2):
        if member.class_names != first.class_names:
            raise CheckpointError(
                f"checkpoint {number} knows {_in_words(member.class_names)}, the first {_in_words(first.class_names)}\n"
                "only networks with the same classes in the same order can be averaged"
            )
    return ensembles.get(first.name)(members).eval()


def _in_words(class_names: Sequence[str]) -> str:
    return f"{len(class_names)} classes ({', '.join(class_names[:5])}{', ...' if len(class_names) > 5 else ''})"


@ensembles.register("classification")
class ClassifierEnsemble(Classification):
    """The mean of several classifiers' probabilities (Krizhevsky 2012, section 6; Simonyan & Zisserman 2014, 4.4).

    Args:
        members: the classifiers; each looks at images as its own options say.

    Raises:
        CheckpointError: some give one class an image, others several.
    """

    def __init__(self, members: Sequence[Classification]) -> None:
        first = members[0]
        if len({member.loss_options.multi_label for member in members}) > 1:
            raise CheckpointError("networks for one class an image and for several cannot be averaged")
        super().__init__(
            nn.ModuleList(members),  # type: ignore[arg-type]  # no model; ensembles of pipelines follow
            first.class_names,
            first.category_ids,
            first.preprocess_options,
            loss=first.loss_options,
            evaluation=first.evaluation_options,
        )
        self.members = list(members)

    def forward(self, images: Sequence[Tensor]) -> Tensor:
        """Probabilities [B, K] of uint8 images [3, H, W], see `Classification.forward`."""
        return torch.stack([member(images) for member in self.members]).mean(dim=0)


@ensembles.register("segmentation")
class SegmenterEnsemble(Segmentation):
    """The mean of several segmenters' probabilities at each pixel.

    Tiles are those of the first; each network looks at them at its own scales, after its own preprocessing.

    Args:
        members: the segmenters.
    """

    def __init__(self, members: Sequence[Segmentation]) -> None:
        first = members[0]
        super().__init__(
            nn.ModuleList(members),  # type: ignore[arg-type]  # no model; ensembles of pipelines follow
            first.class_names,
            first.category_ids,
            first.class_colors,
            first.preprocess_options,
            evaluation=first.evaluation_options,
        )
        self.members = list(members)

    def probabilities(self, images: Tensor, whole: tuple[int, int]) -> Tensor:
        """See `Segmentation.probabilities`."""
        total = self.members[0].probabilities(images, whole)
        for member in self.members[1:]:  # one at a time: a large image's probabilities are large, too
            total += member.probabilities(images, whole)
        return total / len(self.members)


@ensembles.register("detection")
class DetectorEnsemble(Detection):
    """What several detectors find, put together by weighted box fusion (Solovyev et al. 2019).

    Args:
        members: the detectors; each looks at images as its own options say, and all its looks count as one here. The
            first says how much boxes of several must overlap to be taken for one object.

    Raises:
        ConfigError: one of them gives masks.
    """

    def __init__(self, members: Sequence[Detection]) -> None:
        first = members[0]
        for member in members:
            refuse_masks(member.network, f"{len(members)} checkpoints")
        super().__init__(
            nn.ModuleList(members),  # type: ignore[arg-type]  # no model; ensembles of pipelines follow
            first.class_names,
            first.category_ids,
            first.preprocess_options,
            evaluation=first.evaluation_options,
        )
        self.members = list(members)

    def forward(self, images: Sequence[Tensor], targets: Sequence[Target] | None = None) -> list[Prediction]:
        """See `Detection.forward`."""
        return self.fused([member(images, targets) for member in self.members])
