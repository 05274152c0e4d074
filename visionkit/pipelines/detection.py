"""Detection pipeline, a torch module that maps images to boxes in original pixels."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from visionkit.data.proposals.proposal_source import ProposalOptions, SelectiveSearchProposals
from visionkit.errors import ConfigError
from visionkit.models.base import DetectionModel
from visionkit.ops.box_fusion import fuse_boxes
from visionkit.ops.nms import Candidates
from visionkit.option_checks import check_within
from visionkit.pipelines.base import ModelPipeline, pipelines
from visionkit.pipelines.group_by_shape import group_by_shape
from visionkit.pipelines.results import DetectionResult, MinScore
from visionkit.pipelines.tta import View, check_scales, tta_views
from visionkit.preprocessing.detection import DetectionPreprocessing, DetectionPreprocessOptions
from visionkit.preprocessing.geometry import Geometry
from visionkit.preprocessing.paste_masks import paste_masks
from visionkit.structures import Prediction, Target

USUAL_THRESHOLD = 0.5
"""Smallest score that is drawn, of classes for which training has chosen none."""


@dataclass
class DetectionInferenceOptions:
    """Views and thresholds of detection in `test` and `predict`. Validation during training uses one view.

    Attributes:
        tta_scales: factors on the size that `preprocess` gives, one view each. Views are fused by weighted box fusion.
        flip: whether the mirror image of each view is also used.
        fusion_iou: IoU above which boxes of several views or models are fused (Solovyev et al. 2019, section 3: 0.55).
        score_threshold: smallest score of the boxes that `predict` draws and lists. None uses that of each class with
            the highest F1 on the `val` split of the training, and 0.5 for a class without. Evaluation uses all boxes.

    Raises:
        ConfigError: a value is out of range.

    Example:
        >>> import visionkit as vk
        >>> vk.DetectionInferenceOptions(flip=True, tta_scales=[1.0, 1.5]).flip
        True
    """

    tta_scales: list[float] = field(default_factory=lambda: [1.0])
    flip: bool = False
    fusion_iou: float = 0.55
    score_threshold: float | None = None

    def __post_init__(self) -> None:
        check_scales(self.tta_scales)
        check_within(0, 1, fusion_iou=self.fusion_iou, score_threshold=self.score_threshold)

    @property
    def views(self) -> list[View]:
        """Views of each image."""
        return tta_views(self.tta_scales, self.flip)


@pipelines.register("detection")
class DetectionPipeline(ModelPipeline[Prediction, DetectionResult]):
    """A detector with preprocessing, test-time augmentation and class names.

    Args:
        network: the detector.
        class_names: K names in label order.
        category_ids: category id of each class in the dataset; None numbers them from 1.
        class_colors: RGB of each class in drawings; None for default colors.
        preprocess: options for resizing and normalizing images.
        inference: options for views and thresholds.
        proposals: options of the proposal search for images without proposals, for a model that takes them.

    Raises:
        ConfigError: several views are requested for a model that predicts masks.

    Example:
        >>> import numpy as np
        >>> import visionkit as vk
        >>> network = vk.RetinaNet(vk.create_backbone("resnet18", weights="none"), num_classes=2)
        >>> options = vk.DetectionPreprocessOptions(short_side=64, long_side=64)
        >>> pipeline = vk.DetectionPipeline(network, ["cat", "dog"], preprocess=options)
        >>> pipeline.predict(np.zeros((48, 64, 3), np.uint8))[0].class_names
        ['cat', 'dog']
    """

    task: ClassVar[str] = "detection"
    option_types: ClassVar[dict[str, type]] = {
        "preprocess": DetectionPreprocessOptions,
        "inference": DetectionInferenceOptions,
        "proposals": ProposalOptions,
    }
    network: DetectionModel
    preprocessing: DetectionPreprocessing

    def __init__(
        self,
        network: DetectionModel,
        class_names: Sequence[str] | None,
        category_ids: Sequence[int] | None = None,
        class_colors: Sequence[Sequence[int]] | None = None,
        preprocess: DetectionPreprocessOptions | None = None,
        inference: DetectionInferenceOptions | None = None,
        proposals: ProposalOptions | None = None,
    ) -> None:
        if not isinstance(network, DetectionModel):
            raise ConfigError(
                f"a detector must be a DetectionModel, not {type(network).__name__}\n"
                "subclass visionkit.DetectionModel, or wrap a detector of torchvision in visionkit.FromTorchvision"
            )
        super().__init__(network, class_names, category_ids, class_colors, preprocess or DetectionPreprocessOptions())
        self.proposals_options = proposals
        self.set_inference(inference or DetectionInferenceOptions())

    def set_inference(self, options: DetectionInferenceOptions) -> None:
        """See `ModelPipeline.set_inference`.

        Raises:
            ConfigError: several views are requested for a model that predicts masks.
        """
        if len(options.views) > 1:
            refuse_masks(self.network, "inference.tta_scales and flip")
        self.inference_options = options

    @property
    def display_threshold(self) -> MinScore:
        """See `Pipeline.display_threshold`."""
        return self._shown_threshold(self.inference_options.score_threshold, USUAL_THRESHOLD, USUAL_THRESHOLD)

    @property
    def min_score(self) -> float:
        """See `Pipeline.min_score`."""
        return self.network.nms_options.score_threshold if self.network.nms_options is not None else 0.0

    @property
    def max_detections(self) -> int | None:
        """Largest number of detections per image; None if the model has no limit."""
        return self.network.nms_options.max_detections if self.network.nms_options is not None else None

    def forward(self, images: Sequence[Tensor], targets: Sequence[Target] | None = None) -> list[Prediction]:
        """Detect objects.

        Args:
            images: uint8 [3, H, W] each, RGB.
            targets: `proposals` of each image, for a model that takes them. Missing proposals are computed.

        Returns:
            For each image, boxes float32 [M, 4] in its own pixels, scores [M] in descending order, labels [M], and
            masks (RLE) if the model predicts them.
        """
        proposals = self._proposals(images, targets) if self.network.takes_proposals else None
        views = [self._forward_view(view, images, proposals) for view in self.inference_options.views]
        return fuse_views(views, self.inference_options.fusion_iou, self.max_detections)

    def losses_and_predictions(
        self, images: Sequence[Tensor], targets: Sequence[Target]
    ) -> list[tuple[list[int], dict[str, Tensor], list[Prediction]]]:
        """Return the losses and predictions of one view in one forward pass, for validation.

        Returns:
            For each group of images with one input size, the indices, the losses, and predictions in original pixels.
        """
        prepared, geometries = self.preprocessing(images)
        resized = DetectionPreprocessing.resize_targets(targets, geometries)
        outputs = []
        for group in group_by_shape(prepared):
            losses, predictions = self.network.losses_and_predictions(
                [prepared[index] for index in group], [resized[index] for index in group]
            )
            outputs.append((group, losses, restore(predictions, [geometries[index] for index in group])))
        return outputs

    def result(self, prediction: Prediction, source: Path | None = None) -> DetectionResult:
        """See `Pipeline.result`."""
        boxes, scores, labels = (prediction[key].cpu().numpy() for key in ("boxes", "scores", "labels"))
        return DetectionResult(source, self.class_names, labels, boxes, scores, prediction.get("masks"))

    def _forward_view(
        self, view: View, images: Sequence[Tensor], proposals: Sequence[Tensor] | None
    ) -> list[Prediction]:
        """Return the predictions of one view, in pixels of the original images."""
        prepared, geometries = self.preprocessing([view.image(image) for image in images], factor=view.factor)
        regions: list[Tensor] | None = None
        if proposals is not None:
            placed = zip(proposals, geometries, strict=True)
            regions = [geometry.to_input(view.boxes(boxes, geometry.width)) for boxes, geometry in placed]
        predictions: list[Prediction] = [{}] * len(prepared)
        for group in group_by_shape(prepared):
            batch = [prepared[index] for index in group]
            options = {} if regions is None else {"proposals": [regions[index] for index in group]}
            for index, prediction in zip(group, self.network(batch, **options), strict=True):
                predictions[index] = prediction
        restored = restore(predictions, geometries)
        for prediction, geometry in zip(restored, geometries, strict=True):
            prediction["boxes"] = view.boxes(prediction["boxes"], geometry.width)
        return restored

    def _proposals(self, images: Sequence[Tensor], targets: Sequence[Target] | None) -> list[Tensor]:
        """Return proposals float32 [P, 4] of each image in its pixels, from `targets` or selective search."""
        options = self.proposals_options or ProposalOptions()
        search = SelectiveSearchProposals(ProposalOptions(mode=options.mode, count=options.count, folder=""))
        proposals = []
        for image, target in zip(images, targets or [Target()] * len(images), strict=True):
            boxes = target.get("proposals")
            if boxes is None:
                boxes = torch.from_numpy(search(image.permute(1, 2, 0).cpu().numpy()))
            proposals.append(boxes.to(image.device))
        return proposals


def restore(predictions: Sequence[Prediction], geometries: Sequence[Geometry]) -> list[Prediction]:
    """Return predictions in pixels of the original images, with mask probabilities converted to RLE."""
    restored = DetectionPreprocessing.restore(predictions, geometries)
    for prediction, geometry in zip(restored, geometries, strict=True):
        if "mask_probabilities" in prediction:
            probabilities = prediction.pop("mask_probabilities")
            size = (geometry.height, geometry.width)
            prediction["masks"] = paste_masks(probabilities.float(), prediction["boxes"], size)
    return restored


def fuse_views(views: Sequence[list[Prediction]], iou: float, max_detections: int | None) -> list[Prediction]:
    """Fuse the predictions of several views of each image by weighted box fusion.

    Args:
        views: predictions of each image, by view; boxes in original pixels.
        iou: see `fuse_boxes`.
        max_detections: number of detections with the highest scores that are kept per image; None keeps all.

    Returns:
        One prediction per image. Predictions of a single view are unchanged.
    """
    if len(views) == 1:
        return views[0]
    fused = []
    for of_image in zip(*views, strict=True):
        kept = fuse_boxes([Candidates(view["boxes"], view["scores"], view["labels"]) for view in of_image], iou)
        columns: dict[str, Any] = {name: column[:max_detections] for name, column in kept._asdict().items()}
        fused.append(cast(Prediction, columns))
    return fused


def refuse_masks(network: DetectionModel, reason: str) -> None:
    """Raise ConfigError for a model with masks, which box fusion discards. `reason` names the cause of the fusion."""
    if network.predicts_masks:
        raise ConfigError(
            f"{reason}: several views are fused box by box, and {type(network).__name__} also predicts masks\n"
            "use one view and one checkpoint, or a detector of boxes such as faster_rcnn"
        )
