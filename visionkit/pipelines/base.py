"""The contract of a pipeline, and what the pipelines of all tasks share."""

import dataclasses
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from visionkit.backbones.base import Backbone
from visionkit.data.io.images import find_images, read_image, to_tensor
from visionkit.errors import DataError, VisionkitError
from visionkit.models.base import Model
from visionkit.pipelines.results import Colors, Result
from visionkit.registry import Registry

Source = str | Path | NDArray[np.uint8]
"""An image file, a folder of images, or a uint8 RGB array [H, W, 3]."""

P = TypeVar("P")


class PreprocessOptions(Protocol):
    """A `preprocess` section: a dataclass with at least these fields."""

    mean: list[float] | None
    std: list[float] | None

    def module(self) -> nn.Module:
        """Return the module that prepares images."""
        ...


class Pipeline(nn.Module, Generic[P]):
    """Base of trained models that predict on images: preprocessing, network, postprocessing.

    A subclass takes its options as dataclasses and keeps them as `<section>_options`. `P` is the type of what `forward`
    returns for one image.

    Attributes:
        task: name of the task that trains it.
        option_types: dataclass of each section of options.
        class_names: K names in label order.
        category_ids: the data set's own ids of the classes, for result files.
        class_colors: RGB of each class in drawings; None for default colors.
        preprocessing: resizes and normalizes images.
    """

    task: ClassVar[str]
    option_types: ClassVar[dict[str, type]]
    class_names: list[str]
    category_ids: list[int]
    class_colors: list[list[int]] | None
    preprocessing: nn.Module

    def _name_classes(
        self,
        class_names: Sequence[str] | None,
        category_ids: Sequence[int] | None,
        class_colors: Colors | None,
    ) -> None:
        if not class_names:
            raise VisionkitError("class_names are missing: predictions without names would be a guess")
        self.class_names = list(class_names)
        self.category_ids = list(category_ids or range(1, len(class_names) + 1))
        self.class_colors = None if class_colors is None else [list(color) for color in class_colors]

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next((tensor.device for tensor in self.parameters()), torch.device("cpu"))

    @property
    @abstractmethod
    def display_threshold(self) -> float:
        """Score from which predictions are drawn and listed."""

    @property
    def min_score(self) -> float:
        """Score that a prediction must exceed to be returned at all."""
        return 0.0

    def set_inference(self, options: Any) -> None:
        """Predict from now on with other inference options; the network does not change."""
        raise NotImplementedError

    def forward(self, images: Sequence[Tensor]) -> Any:
        """Return the prediction of each image, a sequence of `P`.

        Args:
            images: uint8 [3, H, W] each, RGB, of any size.
        """
        raise NotImplementedError

    @abstractmethod
    def result(self, prediction: P, source: Path | None = None) -> Result:
        """Return the prediction of one image in its user-facing form."""

    @torch.inference_mode()
    def predict(self, sources: Source | Iterable[Source], batch_size: int = 1) -> list[Any]:
        """Predict on images.

        Args:
            sources: an image file, a folder, a uint8 RGB array [H, W, 3], or a list of these.
            batch_size: images that go through the network together.

        Returns:
            One `DetectionResult`, `ClassificationResult` or `SegmentationResult` per image, with all scores.

        Raises:
            DataError: a path is missing or not an image, or an array has another shape or type.
        """
        results: list[Result] = []
        for batch in batches(expand(sources), batch_size):
            images = [to_tensor(_image(source)).to(self.device) for source in batch]
            paths = [None if isinstance(source, np.ndarray) else Path(source) for source in batch]
            results += [self.result(found, path) for found, path in zip(self(images), paths, strict=True)]
        return results


class ModelPipeline(Pipeline[P]):
    """Base of the pipelines around one model.

    Args:
        network: the model.
        class_names: K names in label order.
        category_ids: the data set's own ids of the classes; None numbers them from 1.
        class_colors: RGB of each class in drawings; None for default colors.
        preprocess: how images are prepared; mean and std default to those of the network.
    """

    def __init__(
        self,
        network: Model,
        class_names: Sequence[str] | None,
        category_ids: Sequence[int] | None,
        class_colors: Colors | None,
        preprocess: PreprocessOptions | None,
    ) -> None:
        super().__init__()
        self._name_classes(class_names, category_ids, class_colors)
        self.network = network
        options: Any = preprocess or self.option_types["preprocess"]()
        self.preprocess_options: Any = self._with_statistics(options)
        self.preprocessing = self.preprocess_options.module()

    def description(self) -> dict[str, Any]:
        """Return everything that rebuilds this pipeline but the weights, as primitives."""
        return {
            "task": self.task,
            "model": self.network.spec,
            "class_names": self.class_names,
            "category_ids": self.category_ids,
            "class_colors": self.class_colors,
            **{name: _plain(getattr(self, f"{name}_options")) for name in self.option_types},
        }

    @classmethod
    def from_description(cls, description: dict[str, Any], network: Model) -> "ModelPipeline[P]":
        """Return the pipeline of a description around `network`, without loading weights."""
        options = {
            name: None if description.get(name) is None else kind(**description[name])
            for name, kind in cls.option_types.items()
        }
        classes = {key: description[key] for key in ("class_names", "category_ids", "class_colors")}
        return cls(network, **classes, **options)

    def _with_statistics(self, options: Any) -> Any:
        """Return the options with mean and std filled in; they become the backbone's own, which trains with them."""
        mean = [float(value) for value in options.mean or self.network.mean]
        std = [float(value) for value in options.std or self.network.std]
        if isinstance(self.network.backbone, Backbone):
            self.network.backbone.mean, self.network.backbone.std = tuple(mean), tuple(std)
        return dataclasses.replace(options, mean=mean, std=std)


pipelines: Registry[type[ModelPipeline[Any]]] = Registry("task", "visionkit.pipelines")
"""Pipelines by the name of their task."""


def expand(sources: Source | Iterable[Source]) -> list[Source]:
    """Return single images: folders are replaced by the images in them."""
    listed: Iterable[Source] = [sources] if isinstance(sources, (str, Path, np.ndarray)) else sources
    images: list[Source] = []
    for source in listed:
        images += [source] if isinstance(source, np.ndarray) else find_images([Path(source)])
    return images


def batches(sources: list[Source], size: int) -> Iterator[list[Source]]:
    """Yield consecutive slices of at most `size`."""
    return (sources[start : start + size] for start in range(0, len(sources), size))


def _image(source: Source) -> NDArray[np.uint8]:
    if not isinstance(source, np.ndarray):
        return read_image(Path(source))
    if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3:
        raise DataError(f"an image array must be uint8 [H, W, 3] RGB, not {source.dtype} {list(source.shape)}")
    return source


def _plain(options: Any) -> dict[str, Any] | None:
    return None if options is None else dataclasses.asdict(options)
