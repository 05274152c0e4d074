"""Base classes of pipelines."""

import dataclasses
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from visionkit.backbones.base import Backbone
from visionkit.data.io.images import read_image, to_tensor
from visionkit.data.io.list_images import find_images
from visionkit.errors import ConfigError, DataError
from visionkit.models.base import Model
from visionkit.pipelines.description import options_from
from visionkit.pipelines.results import Colors, MinScore, Result
from visionkit.plugins import registering_modules
from visionkit.preprocessing.base import Preprocessing
from visionkit.registry import Registry

Source = str | Path | NDArray[np.uint8]
"""An image file, a folder of images, or a uint8 RGB array [H, W, 3]."""

P = TypeVar("P")
R = TypeVar("R", bound=Result)


class PreprocessOptions(Protocol):
    """Options of a `preprocess` section: a dataclass with at least these fields."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    mean: list[float] | None
    std: list[float] | None

    def module(self) -> Preprocessing:
        """Return the module that applies the options."""
        ...


class Pipeline(nn.Module, Generic[P, R]):
    """Base class of trained models that predict on images: preprocessing, network, postprocessing.

    `P` is the type of the prediction for one image that `forward` returns, in tensors. `R` is its user-facing type.

    Attributes:
        task: name of the task that trains and scores the pipeline.
        class_names: K names in label order.
        category_ids: category id of each class in the dataset, for result files.
        class_colors: RGB of each class in drawings; None for default colors.
        preprocessing: module that resizes and normalizes images.
        class_thresholds: score threshold of each class with the highest F1 on the `val` split of the training, at which
            `test` computes precision, recall and F1, and `predict` draws; None for a class without any. None for all
            before training, and for tasks without such thresholds.
        bit_depth: number of bits that gray image files with 16 bits use, see `read_image`; None for all. Training sets
            it to that of its `VisionData`.

    Example:
        >>> import visionkit as vk
        >>> model = vk.UNet(vk.create_backbone("resnet18", weights="none"), num_classes=2)
        >>> pipeline = vk.SegmentationPipeline(model, ["road", "sky"])
        >>> isinstance(pipeline, vk.Pipeline), pipeline.class_names
        (True, ['road', 'sky'])
    """

    task: ClassVar[str]
    class_names: list[str]
    category_ids: list[int]
    class_colors: list[list[int]] | None
    preprocessing: Preprocessing
    bit_depth: int | None = None
    class_thresholds: list[float | None] | None = None

    def _set_classes(
        self, class_names: Sequence[str] | None, category_ids: Sequence[int] | None, class_colors: Colors | None
    ) -> None:
        if not class_names:
            raise ConfigError("class_names are missing: give the K names in label order")
        self.class_names = list(class_names)
        self.category_ids = list(category_ids or range(1, len(class_names) + 1))
        self.class_colors = None if class_colors is None else [list(color) for color in class_colors]

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        return next((tensor.device for tensor in self.parameters()), torch.device("cpu"))

    @property
    @abstractmethod
    def display_threshold(self) -> MinScore:
        """Smallest score of the predictions that are drawn and listed, of all classes or of each."""

    @property
    def min_score(self) -> float:
        """Score that a prediction must exceed to be returned."""
        return 0.0

    def forward(self, images: Sequence[Tensor]) -> Any:
        """Return a sequence with the prediction `P` of each image.

        Args:
            images: uint8 [3, H, W] each, RGB, of any size.
        """
        raise NotImplementedError

    @abstractmethod
    def result(self, prediction: P, source: Path | None = None) -> R:
        """Return the prediction of one image in its user-facing form."""

    def read_image(self, path: Path) -> NDArray[np.uint8]:
        """Return an image file as a uint8 RGB array [H, W, 3], read as the training images were.

        Raises:
            DataError: the file is not an image, or a value does not fit into `bit_depth` bits.
        """
        return read_image(path, self.bit_depth)

    @torch.inference_mode()
    def predict(self, sources: Source | Iterable[Source], batch_size: int = 1) -> list[R]:
        """Predict on images, in evaluation mode.

        Args:
            sources: an image file, a folder, a uint8 RGB array [H, W, 3], or a list of these.
            batch_size: number of images per forward pass.

        Returns:
            A `DetectionResult`, `ClassificationResult` or `SegmentationResult` for each image, with all scores.

        Raises:
            DataError: a path does not exist or is not an image, or an array has another shape or type.
        """
        results: list[R] = []
        with evaluation_mode(self):
            for batch in _batches(_single_images(sources), batch_size):
                images = [to_tensor(self._read(source)).to(self.device) for source in batch]
                paths = [None if isinstance(source, np.ndarray) else Path(source) for source in batch]
                predictions = zip(self(images), paths, strict=True)
                results += [self.result(prediction, path) for prediction, path in predictions]
        return results

    def _read(self, source: Source) -> NDArray[np.uint8]:
        if not isinstance(source, np.ndarray):
            return self.read_image(Path(source))
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3:
            raise DataError(f"an image array must be uint8 [H, W, 3] RGB, not {source.dtype} {list(source.shape)}")
        return source


class ModelPipeline(Pipeline[P, R]):
    """Base class of the pipelines of a single model.

    A subclass takes its options as dataclasses and stores each as `<section>_options`.

    Args:
        network: the model.
        class_names: K names in label order.
        category_ids: category id of each class in the dataset; None numbers them from 1.
        class_colors: RGB of each class in drawings; None for default colors.
        preprocess: preprocessing options; mean and std default to those of the network.

    Attributes:
        option_types: dataclass of each section of options.
    """

    option_types: ClassVar[dict[str, type]]

    def __init__(
        self,
        network: Model,
        class_names: Sequence[str] | None,
        category_ids: Sequence[int] | None,
        class_colors: Colors | None,
        preprocess: PreprocessOptions,
    ) -> None:
        super().__init__()
        self._set_classes(class_names, category_ids, class_colors)
        self.network = network
        self.preprocess_options = self._with_statistics(preprocess)
        self.preprocessing = self.preprocess_options.module()

    @property
    def predicts_tiles(self) -> bool:
        """Whether the network gets tiles of an image in prediction."""
        return False

    @property
    def memory_format(self) -> torch.memory_format:
        """Memory layout of the network's weights."""
        return torch.contiguous_format

    @abstractmethod
    def set_inference(self, options: Any) -> None:
        """Replace the inference options. The type of `options` is that in `option_types`."""

    def description(self) -> dict[str, Any]:
        """Return primitive values from which this pipeline can be rebuilt, without the weights."""
        return {
            "task": self.task,
            "model": self.network.spec,
            "class_names": self.class_names,
            "category_ids": self.category_ids,
            "class_colors": self.class_colors,
            "bit_depth": self.bit_depth,
            "class_thresholds": self.class_thresholds,
            "plugins": registering_modules(),
            **{name: _as_dict(getattr(self, f"{name}_options")) for name in self.option_types},
        }

    @classmethod
    def from_description(cls, description: Mapping[str, Any], network: Model) -> "ModelPipeline[P, R]":
        """Return the pipeline with the given description and `network`, without loading weights.

        Older checkpoints have no `bit_depth` and no `class_thresholds`.
        """
        options: dict[str, Any] = {
            name: None if description.get(name) is None else options_from(kind, description[name], name)
            for name, kind in cls.option_types.items()
        }
        classes = {key: description[key] for key in ("class_names", "category_ids", "class_colors")}
        pipeline = cls(network, **classes, **options)
        pipeline.bit_depth = description.get("bit_depth")
        pipeline.class_thresholds = description.get("class_thresholds")
        return pipeline

    def _shown_threshold(self, given: float | None, usual: float, undecided: float) -> MinScore:
        """Return the display threshold: the given one, else that of each class, else the usual one.

        Args:
            given: threshold of the inference options; None if none is set.
            usual: threshold if the training chose none.
            undecided: threshold of a class for which the training chose none.
        """
        if given is not None:
            return given
        if self.class_thresholds is None:
            return usual
        return [undecided if threshold is None else threshold for threshold in self.class_thresholds]

    def _with_statistics(self, options: PreprocessOptions) -> PreprocessOptions:
        """Return the options with mean and std filled in. Both are stored in the backbone, which is trained on them."""
        mean = [float(value) for value in options.mean or self.network.mean]
        std = [float(value) for value in options.std or self.network.std]
        if isinstance(self.network.backbone, Backbone):
            self.network.backbone.mean, self.network.backbone.std = tuple(mean), tuple(std)
        return dataclasses.replace(options, mean=mean, std=std)


pipelines: Registry[type[ModelPipeline[Any, Any]]] = Registry("task", "visionkit.pipelines")
"""Pipelines by task name."""


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Set a module to evaluation mode, and restore the mode of each submodule at the end."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def _single_images(sources: Source | Iterable[Source]) -> list[Source]:
    """Return files and arrays, with folders replaced by the images in them."""
    listed: Iterable[Source] = [sources] if isinstance(sources, (str, Path, np.ndarray)) else sources
    images: list[Source] = []
    for source in listed:
        images += [source] if isinstance(source, np.ndarray) else find_images([Path(source)])
    return images


def _batches(sources: list[Source], size: int) -> Iterator[list[Source]]:
    """Yield consecutive slices of at most `size` sources."""
    return (sources[start : start + size] for start in range(0, len(sources), size))


def _as_dict(options: Any) -> dict[str, Any] | None:
    return None if options is None else dataclasses.asdict(options)
