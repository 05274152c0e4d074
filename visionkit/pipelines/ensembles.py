"""Ensembles, which combine the predictions of several pipelines."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor, nn

from visionkit.errors import CheckpointError
from visionkit.pipelines.base import ModelPipeline, P, Pipeline, R
from visionkit.pipelines.classification import ClassificationPipeline
from visionkit.pipelines.detection import DetectionPipeline, fuse_views, refuse_masks
from visionkit.pipelines.results import ClassificationResult, DetectionResult, MinScore, SegmentationResult
from visionkit.pipelines.segmentation import SegmentationPipeline, TiledSegmentation
from visionkit.registry import Registry
from visionkit.structures import Prediction, Target

M = TypeVar("M", bound=ModelPipeline[Any, Any])

ensembles: Registry[Callable[[Sequence[Any]], Pipeline[Any, Any]]] = Registry("ensemble", "visionkit.pipelines")
"""Ensembles by task of their members."""


def make_ensemble(members: Sequence[ModelPipeline[Any, Any]]) -> Pipeline[Any, Any]:
    """Return a pipeline that combines the predictions of several pipelines, in evaluation mode.

    Args:
        members: at least one pipeline; all have the same task and classes.

    Raises:
        CheckpointError: the tasks, classes or bit depths differ.
    """
    first = members[0]
    names = sorted({member.task for member in members})
    if len(names) > 1:
        raise CheckpointError(f"checkpoints of {' and '.join(names)} cannot be combined: give those of one task")
    for number, member in enumerate(members[1:], start=2):
        if member.class_names != first.class_names:
            raise CheckpointError(
                f"checkpoint {number} has {_in_words(member.class_names)}, the first {_in_words(first.class_names)}\n"
                "only models with the same classes in the same order can be combined"
            )
    return ensembles.get(first.task)(members).eval()


class Ensemble(Pipeline[P, R], Generic[P, R, M]):
    """Base class of ensembles. The first member defines classes, display threshold and combination of predictions.

    Args:
        members: pipelines, each with its own preprocessing and inference options.

    Raises:
        CheckpointError: the members read images with 16 bits differently.
    """

    def __init__(self, members: Sequence[M]) -> None:
        super().__init__()
        first = members[0]
        self.bit_depth = first.bit_depth
        for number, member in enumerate(members, start=1):
            if member.bit_depth != first.bit_depth:
                raise CheckpointError(
                    f"checkpoint {number} reads images with bit_depth={member.bit_depth}, the first with "
                    f"bit_depth={first.bit_depth}\nonly models that were trained with the same data.bit_depth can be "
                    "combined"
                )
        self._set_classes(first.class_names, first.category_ids, first.class_colors)
        self.pipelines = nn.ModuleList(members)
        self.preprocessing = first.preprocessing

    @property
    def members(self) -> list[M]:
        """Combined pipelines."""
        return cast(list[M], list(self.pipelines))

    @property
    def display_threshold(self) -> MinScore:
        """Display threshold of the first member; see `Pipeline.display_threshold`."""
        return self.members[0].display_threshold

    @property
    def min_score(self) -> float:
        """Smallest `Pipeline.min_score` of the members."""
        return min(member.min_score for member in self.members)

    def result(self, prediction: P, source: Path | None = None) -> R:
        """See `Pipeline.result`."""
        result: R = self.members[0].result(prediction, source)
        return result


@ensembles.register("classification")
class ClassificationEnsemble(Ensemble[Tensor, ClassificationResult, ClassificationPipeline]):
    """Mean probabilities of several classifiers (Krizhevsky 2012, section 6; Simonyan & Zisserman 2014, 4.4).

    Args:
        members: the classifiers.

    Raises:
        CheckpointError: some members have one label per image, and others several.

    Example:
        >>> import numpy as np
        >>> import visionkit as vk
        >>> network = vk.Classifier(vk.create_backbone("cifar_resnet20", weights="none"), num_classes=2)
        >>> options = vk.ClassificationPreprocessOptions(short_side=32, crop=32)
        >>> member = vk.ClassificationPipeline(network, ["cat", "dog"], preprocess=options)
        >>> len(vk.ClassificationEnsemble([member, member]).predict(np.zeros((48, 64, 3), np.uint8))[0])
        2
    """

    task = "classification"

    def __init__(self, members: Sequence[ClassificationPipeline]) -> None:
        if len({member.multi_label for member in members}) > 1:
            raise CheckpointError("classifiers with one label per image and with several cannot be combined")
        super().__init__(members)

    @property
    def multi_label(self) -> bool:
        """Whether an image can have several classes."""
        return self.members[0].multi_label

    def forward(self, images: Sequence[Tensor]) -> Tensor:
        """Return probabilities [B, K] of uint8 images [3, H, W]."""
        return torch.stack([member(images) for member in self.members]).mean(dim=0)


@ensembles.register("segmentation")
class SegmentationEnsemble(TiledSegmentation, Ensemble[Tensor, SegmentationResult, SegmentationPipeline]):
    """Mean probabilities per pixel of several segmentation models.

    Tiles are those of the first member. Each member uses its own scales and preprocessing.

    Args:
        members: the segmentation pipelines.

    Example:
        >>> import numpy as np
        >>> import visionkit as vk
        >>> network = vk.FCN32s(vk.create_backbone("resnet18", weights="none"), num_classes=2)
        >>> member = vk.SegmentationPipeline(network, ["sky", "road"])
        >>> vk.SegmentationEnsemble([member, member]).predict(np.zeros((48, 64, 3), np.uint8))[0].mask.shape
        (48, 64)
    """

    task = "segmentation"

    def __init__(self, members: Sequence[SegmentationPipeline]) -> None:
        super().__init__(members)
        self.inference_options = members[0].inference_options

    def probabilities(self, images: Tensor, whole: tuple[int, int]) -> Tensor:
        """See `TiledSegmentation.probabilities`."""
        first, *others = self.members
        total = first.probabilities(images, whole)
        for member in others:  # one at a time, because the probabilities of a large image take much memory
            total += member.probabilities(images, whole)
        return total / len(self.members)


@ensembles.register("detection")
class DetectionEnsemble(Ensemble[Prediction, DetectionResult, DetectionPipeline]):
    """Detections of several models, combined by weighted box fusion (Solovyev et al. 2019).

    Args:
        members: the detectors. The views of each detector are fused first. The first detector defines `fusion_iou`.

    Raises:
        ConfigError: a model predicts masks.

    Example:
        >>> import numpy as np
        >>> import visionkit as vk
        >>> network = vk.RetinaNet(vk.create_backbone("resnet18", weights="none"), num_classes=2)
        >>> options = vk.DetectionPreprocessOptions(short_side=64, long_side=64)
        >>> member = vk.DetectionPipeline(network, ["cat", "dog"], preprocess=options)
        >>> vk.DetectionEnsemble([member, member]).predict(np.zeros((48, 64, 3), np.uint8))[0].class_names
        ['cat', 'dog']
    """

    task = "detection"

    def __init__(self, members: Sequence[DetectionPipeline]) -> None:
        for member in members:
            refuse_masks(member.network, f"{len(members)} checkpoints")
        super().__init__(members)

    @property
    def max_detections(self) -> int | None:
        """Largest limit on detections per image among the members; None if no model has a limit."""
        limits = [member.max_detections for member in self.members]
        return max((limit for limit in limits if limit is not None), default=None)

    def forward(self, images: Sequence[Tensor], targets: Sequence[Target] | None = None) -> list[Prediction]:
        """See `DetectionPipeline.forward`."""
        views = [member(images, targets) for member in self.members]
        return fuse_views(views, self.members[0].inference_options.fusion_iou, self.max_detections)


def _in_words(class_names: Sequence[str]) -> str:
    return f"{len(class_names)} classes ({', '.join(class_names[:5])}{', ...' if len(class_names) > 5 else ''})"
