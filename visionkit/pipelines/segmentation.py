"""Segmentation pipeline, a torch module that maps images to a class per pixel."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from visionkit.errors import ConfigError
from visionkit.models.base import SegmentationModel
from visionkit.ops.palette import class_color
from visionkit.ops.tiles import Tile, blended_strips
from visionkit.option_checks import check_at_least, check_below, check_within
from visionkit.pipelines.base import ModelPipeline, Pipeline, pipelines
from visionkit.pipelines.group_by_shape import group_by_shape
from visionkit.pipelines.results import SegmentationResult
from visionkit.pipelines.runtime import RuntimeOptions
from visionkit.pipelines.tta import check_scales, tta_views
from visionkit.preprocessing.segmentation import SegmentationPreprocessing, SegmentationPreprocessOptions

T = TypeVar("T")

TILES_PER_BATCH = 4
"""Number of tiles of a large image per forward pass."""


@dataclass
class SegmentationInferenceOptions:
    """Views and tiles in `test` and `predict`. Validation during training uses one view of the whole image.

    Attributes:
        tta_scales: factors on the size of the image, one view each; the probabilities are averaged.
        flip: whether the mirror image of each view is also used.
        tile: side in pixels of the tiles that a larger image is divided into; None uses no tiles.
        overlap: smallest overlap of neighboring tiles in pixels. Tiles are blended where they overlap.
        score_threshold: smallest share of the pixels of the classes that `predict` lists.

    Raises:
        ConfigError: a value is out of range.

    Example:
        >>> import visionkit as vk
        >>> vk.SegmentationInferenceOptions(tile=512).overlap
        64
    """

    tta_scales: list[float] = field(default_factory=lambda: [1.0])
    flip: bool = False
    tile: int | None = None
    overlap: int = 64
    score_threshold: float = 0.0

    def __post_init__(self) -> None:
        check_scales(self.tta_scales)
        check_at_least(1, tile=self.tile)
        check_at_least(0, overlap=self.overlap)
        if self.tile is not None:
            check_below(0, self.tile, overlap=self.overlap)
        check_within(0, 1, score_threshold=self.score_threshold)


class PixelClasses(NamedTuple):
    """The class of each pixel, and its probability float32; both have the same shape."""

    labels: Tensor
    confidences: Tensor


def most_probable_classes(logits: Tensor) -> PixelClasses:
    """Return the classes int64 [B, H, W] of logits [B, K, H, W], and their probabilities."""
    largest, labels = logits.max(1)  # on a CPU, argmax takes several times as long
    # A softmax of one image after another needs no second tensor of the size of the logits, and is faster.
    pairs = zip(logits, largest, strict=True)
    sums = [(values.float() - top.float()).exp_().sum(0) for values, top in pairs]
    return PixelClasses(labels, torch.stack(sums).reciprocal_())


class TiledSegmentation(Pipeline[Tensor, SegmentationResult]):
    """Base class of pipelines that average probabilities per pixel, of whole images or of tiles."""

    task: ClassVar[str] = "segmentation"
    inference_options: SegmentationInferenceOptions

    @property
    def display_threshold(self) -> float:
        """See `Pipeline.display_threshold`."""
        return self.inference_options.score_threshold

    def probabilities(self, images: Tensor, whole: tuple[int, int]) -> Tensor:
        """Return probabilities of images or tiles, averaged over the views.

        Args:
            images: uint8 [N, 3, h, w].
            whole: height and width in pixels of the complete images, which determine the scale.

        Returns:
            Probabilities float32 [N, K, h, w] at the pixels of `images`.
        """
        raise NotImplementedError

    def scores(self, images: Tensor, whole: tuple[int, int]) -> Tensor:
        """Return scores [N, K, h, w], the largest of which is that of the class; see `probabilities`."""
        return self.probabilities(images, whole)

    def confident_classes(self, images: Tensor, whole: tuple[int, int]) -> PixelClasses:
        """Return the class with the largest score of each pixel [N, h, w], and its probability; see `probabilities`."""
        confidences, labels = self.probabilities(images, whole).max(1)
        return PixelClasses(labels, confidences)

    def forward(self, images: Sequence[Tensor]) -> list[Tensor]:
        """Return the class of each pixel, uint8 [H, W] per image, of uint8 images [3, H, W] of any size."""
        return _by_shape(images, self._labels)

    def pixel_classes(self, images: Sequence[Tensor]) -> list[PixelClasses]:
        """Return the class of each pixel as `forward` does, with its probability."""
        return _by_shape(images, self._pixel_classes)

    def result(self, prediction: Tensor, source: Path | None = None) -> SegmentationResult:
        """See `Pipeline.result`."""
        classes = len(self.class_names)
        counts = prediction.flatten().bincount(minlength=classes).cpu()
        shares, labels = (counts / counts.sum()).sort(descending=True, stable=True)
        present = int((counts > 0).sum())
        colors = self.class_colors or [list(class_color(label)) for label in range(classes)]
        return SegmentationResult(
            source,
            self.class_names,
            labels[:present].numpy(),
            prediction.cpu().numpy(),
            shares[:present].numpy(),
            colors,
        )

    def _labels(self, images: Sequence[Tensor]) -> list[Tensor]:
        """Return classes uint8 [H, W] of images of one size."""
        height, width = images[0].shape[-2:]
        tile = self._tile(height, width)
        if tile is None:
            return list(self.scores(torch.stack(list(images)), (height, width)).max(1).indices.to(torch.uint8))
        strips = (self._strips(image, tile) for image in images)
        return [torch.cat([strip.max(0).indices.to(torch.uint8) for strip in of_image]) for of_image in strips]

    def _pixel_classes(self, images: Sequence[Tensor]) -> list[PixelClasses]:
        """Return classes uint8 [H, W] of images of one size, and their probabilities."""
        height, width = images[0].shape[-2:]
        tile = self._tile(height, width)
        if tile is None:
            labels, confidences = self.confident_classes(torch.stack(list(images)), (height, width))
            return list(map(PixelClasses, labels.to(torch.uint8), confidences))
        return [self._classes_of_strips(self._strips(image, tile)) for image in images]

    @staticmethod
    def _classes_of_strips(strips: Iterator[Tensor]) -> PixelClasses:
        confidences, labels = zip(*(strip.max(0) for strip in strips), strict=True)
        return PixelClasses(torch.cat(labels).to(torch.uint8), torch.cat(confidences))

    def _tile(self, height: int, width: int) -> int | None:
        """Return the side of the tiles that an image is divided into; None if it is not divided."""
        tile = self.inference_options.tile
        return None if tile is None or max(height, width) <= tile else tile

    def _strips(self, image: Tensor, tile: int) -> Iterator[Tensor]:
        """Yield probabilities [K, rows, W] of a large image, from top to bottom."""
        height, width = image.shape[-2:]

        def predict(row: list[Tile]) -> Iterator[Tensor]:
            for start in range(0, len(row), TILES_PER_BATCH):
                parts = torch.stack([place.cut(image) for place in row[start : start + TILES_PER_BATCH]])
                yield from self.probabilities(parts, (height, width))

        return blended_strips(height, width, tile, self.inference_options.overlap, predict)


@pipelines.register("segmentation")
class SegmentationPipeline(TiledSegmentation, ModelPipeline[Tensor, SegmentationResult]):
    """A segmentation model with preprocessing, tiling, test-time augmentation and class names.

    Args:
        network: the model.
        class_names: K names in label order.
        category_ids: category id of each class in the dataset; None numbers them from 1.
        class_colors: RGB of each class in drawings; None for default colors.
        preprocess: options for resizing and normalizing images.
        inference: options for views, tiles and threshold.
        runtime: memory layout and compilation of the network.

    Example:
        >>> import numpy as np
        >>> import visionkit as vk
        >>> network = vk.FCN32s(vk.create_backbone("resnet18", weights="none"), num_classes=2)
        >>> pipeline = vk.SegmentationPipeline(network, ["sky", "road"])
        >>> pipeline.predict(np.zeros((48, 64, 3), np.uint8))[0].mask.shape
        (48, 64)
    """

    option_types: ClassVar[dict[str, type]] = {
        "preprocess": SegmentationPreprocessOptions,
        "inference": SegmentationInferenceOptions,
        "runtime": RuntimeOptions,
    }
    network: SegmentationModel
    preprocessing: SegmentationPreprocessing

    def __init__(
        self,
        network: SegmentationModel,
        class_names: Sequence[str] | None,
        category_ids: Sequence[int] | None = None,
        class_colors: Sequence[Sequence[int]] | None = None,
        preprocess: SegmentationPreprocessOptions | None = None,
        inference: SegmentationInferenceOptions | None = None,
        runtime: RuntimeOptions | None = None,
    ) -> None:
        if not isinstance(network, SegmentationModel):
            raise ConfigError(
                f"a segmentation model must be a SegmentationModel, not {type(network).__name__}\n"
                "subclass visionkit.SegmentationModel; its forward returns logits [B, K, H, W]"
            )
        super().__init__(
            network, class_names, category_ids, class_colors, preprocess or SegmentationPreprocessOptions()
        )
        self.runtime_options = runtime or RuntimeOptions()
        self.network.to(memory_format=self.memory_format)
        self.set_inference(inference or SegmentationInferenceOptions())

    @property
    def predicts_tiles(self) -> bool:
        """See `ModelPipeline.predicts_tiles`."""
        return self.inference_options.tile is not None

    @property
    def memory_format(self) -> torch.memory_format:
        """See `ModelPipeline.memory_format`."""
        return self.runtime_options.memory_format

    def set_inference(self, options: SegmentationInferenceOptions) -> None:
        """See `ModelPipeline.set_inference`."""
        self.inference_options = options

    def probabilities(self, images: Tensor, whole: tuple[int, int]) -> Tensor:
        """See `TiledSegmentation.probabilities`."""
        total = torch.zeros((), device=images.device)
        views = tta_views(self.inference_options.tta_scales, self.inference_options.flip)
        for view in views:
            logits = self.logits(view.image(images), self.preprocessing.scale(*whole, view.factor))
            total = total + view.image(logits).softmax(1)
        return total / len(views)

    def scores(self, images: Tensor, whole: tuple[int, int]) -> Tensor:
        """See `TiledSegmentation.scores`. Logits of a single view need no softmax, which takes time at every pixel."""
        views = tta_views(self.inference_options.tta_scales, self.inference_options.flip)
        if len(views) > 1:
            return self.probabilities(images, whole)
        (view,) = views
        return view.image(self.logits(view.image(images), self.preprocessing.scale(*whole, view.factor)))

    def confident_classes(self, images: Tensor, whole: tuple[int, int]) -> PixelClasses:
        """See `TiledSegmentation.confident_classes`."""
        views = tta_views(self.inference_options.tta_scales, self.inference_options.flip)
        if len(views) > 1:
            return super().confident_classes(images, whole)
        return most_probable_classes(self.scores(images, whole))

    def logits(self, images: Tensor, scale: tuple[float, float]) -> Tensor:
        """Return logits [N, K, h, w] at the pixels of uint8 images [N, 3, h, w], resized by `scale` for the model.

        `scale` is vertical and horizontal, as `preprocessing.scale` returns it.
        """
        prepared = self.runtime_options.lay_out(self.preprocessing(images, scale))
        logits: Tensor = self.network(prepared).float()
        if logits.shape[-2:] == images.shape[-2:]:
            return logits
        return functional.interpolate(logits, images.shape[-2:], mode="bilinear", align_corners=False)


def _by_shape(images: Sequence[Tensor], predict: Callable[[Sequence[Tensor]], list[T]]) -> list[T]:
    """Return the predictions of images of any size, which `predict` makes for images of one size."""
    predictions: dict[int, T] = {}
    for group in group_by_shape(images):
        predictions |= zip(group, predict([images[index] for index in group]), strict=True)
    return [predictions[index] for index in range(len(images))]
