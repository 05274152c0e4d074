"""Classification pipeline, a torch module that maps images to probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from visionkit.errors import ConfigError
from visionkit.models.base import ClassificationModel
from visionkit.option_checks import check_at_least, check_within
from visionkit.pipelines.base import ModelPipeline, pipelines
from visionkit.pipelines.classification_tta import CropViews, crop_schemes
from visionkit.pipelines.results import ClassificationResult, MinScore
from visionkit.pipelines.runtime import RuntimeOptions
from visionkit.preprocessing.classification import ClassificationPreprocessing, ClassificationPreprocessOptions

LEAST_LISTED = 0.05
"""Smallest probability of the classes that `predict` lists, without thresholds of the classes."""

MULTI_LABEL_THRESHOLD = 0.5
"""Probability from which on an image has a class, where training has chosen no threshold."""


@dataclass
class ClassificationInferenceOptions:
    """Views of an image in `test` and `predict`, over which probabilities are averaged.

    Validation during training uses the center crop.

    Attributes:
        tta_views: center, ten_crop (Krizhevsky 2012: corners, center and mirror images), grid (Simonyan & Zisserman
            2014: 5 x 5 positions), squares or googlenet (Szegedy 2014: 6 and 36), dense (Simonyan & Zisserman 2014:
            every position, fully convolutional), or whole (the resized image without a crop).
        tta_short_sides: lengths in pixels that the shorter side is resized to, one view each; an empty list uses that
            of `preprocess`.
        flip: whether mirrored views are also used. None follows the publications: all schemes except `center` use them.
        score_threshold: smallest probability of the classes that `predict` lists. None uses 0.05, or the threshold of
            each class that training has chosen, if an image can have several.

    Raises:
        ConfigError: `tta_views` is unknown, or a value is out of range.

    Example:
        >>> import visionkit as vk
        >>> vk.ClassificationInferenceOptions(tta_views="ten_crop").tta_views
        'ten_crop'
    """

    tta_views: str = "center"
    tta_short_sides: list[int] = field(default_factory=list)
    flip: bool | None = None
    score_threshold: float | None = None

    def __post_init__(self) -> None:
        crop_schemes.get(self.tta_views)
        check_at_least(1, tta_short_sides=self.tta_short_sides)
        if self.score_threshold is not None:
            check_within(0, 1, score_threshold=self.score_threshold)


@pipelines.register("classification")
class ClassificationPipeline(ModelPipeline[Tensor, ClassificationResult]):
    """A classifier with preprocessing, test-time augmentation and class names.

    Args:
        network: the classifier; `network.multi_label` selects sigmoid instead of softmax.
        class_names: K names in label order.
        category_ids: category id of each class in the dataset; None numbers them from 1.
        class_colors: not used by classifiers.
        preprocess: options for resizing, cropping and normalizing images.
        inference: options for views and score threshold.
        runtime: memory layout and compilation of the network.

    Raises:
        ConfigError: `inference` and `preprocess` contradict each other.

    Example:
        >>> import numpy as np
        >>> import visionkit as vk
        >>> network = vk.Classifier(vk.create_backbone("cifar_resnet20", weights="none"), num_classes=2)
        >>> options = vk.ClassificationPreprocessOptions(short_side=32, crop=32)
        >>> pipeline = vk.ClassificationPipeline(network, ["cat", "dog"], preprocess=options)
        >>> sorted(pipeline.predict(np.zeros((48, 64, 3), np.uint8))[0].names)
        ['cat', 'dog']
    """

    task: ClassVar[str] = "classification"
    option_types: ClassVar[dict[str, type]] = {
        "preprocess": ClassificationPreprocessOptions,
        "inference": ClassificationInferenceOptions,
        "runtime": RuntimeOptions,
    }
    network: ClassificationModel
    preprocessing: ClassificationPreprocessing

    def __init__(
        self,
        network: ClassificationModel,
        class_names: Sequence[str] | None,
        category_ids: Sequence[int] | None = None,
        class_colors: Sequence[Sequence[int]] | None = None,
        preprocess: ClassificationPreprocessOptions | None = None,
        inference: ClassificationInferenceOptions | None = None,
        runtime: RuntimeOptions | None = None,
    ) -> None:
        if not isinstance(network, ClassificationModel):
            raise ConfigError(
                f"a classifier must be a ClassificationModel, not {type(network).__name__}\n"
                "subclass visionkit.ClassificationModel; its forward returns logits [B, K]"
            )
        super().__init__(
            network, class_names, category_ids, class_colors, preprocess or ClassificationPreprocessOptions()
        )
        self.runtime_options = runtime or RuntimeOptions()
        self.network.to(memory_format=self.memory_format)
        self.set_inference(inference or ClassificationInferenceOptions())

    @property
    def memory_format(self) -> torch.memory_format:
        """See `ModelPipeline.memory_format`."""
        return self.runtime_options.memory_format

    def set_inference(self, options: ClassificationInferenceOptions) -> None:
        """See `ModelPipeline.set_inference`.

        Raises:
            ConfigError: they contradict the options of `preprocess`.
        """
        self.inference_options = options
        self.views = CropViews(options.tta_views, options.tta_short_sides, options.flip, self.preprocessing)

    @property
    def multi_label(self) -> bool:
        """Whether an image can have several classes."""
        return self.network.multi_label

    @property
    def display_threshold(self) -> MinScore:
        """See `Pipeline.display_threshold`."""
        return self._shown_threshold(self.inference_options.score_threshold, LEAST_LISTED, MULTI_LABEL_THRESHOLD)

    def forward(self, images: Sequence[Tensor]) -> Tensor:
        """Return probabilities [B, K] of uint8 images [3, H, W] of any size, averaged over the views."""
        return self.views.average(images, self._view_probabilities)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return probabilities [B, K]: softmax, or the sigmoid of each class for several labels per image."""
        return logits.float().sigmoid() if self.multi_label else logits.float().softmax(dim=1)

    def result(self, prediction: Tensor, source: Path | None = None) -> ClassificationResult:
        """See `Pipeline.result`."""
        scores, labels = (values.cpu().numpy() for values in prediction.float().sort(descending=True, stable=True))
        return ClassificationResult(source, self.class_names, labels, scores)

    def _view_probabilities(self, views: Tensor) -> Tensor:
        """Return probabilities [N, K] of normalized views [N, 3, h, w]."""
        return self.probabilities(self.views.scheme.logits(self.network, self.runtime_options.lay_out(views)))
