"""Pipeline of a model with several heads, which returns one result per head."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from visionkit.errors import CheckpointError, ConfigError
from visionkit.models.base import Model
from visionkit.models.multi_head import MultiHead
from visionkit.pipelines.base import ModelPipeline, Pipeline, pipelines
from visionkit.pipelines.multi_result import MultiResult
from visionkit.pipelines.results import MinScore, per_class
from visionkit.preprocessing.base import Preprocessing

HeadPredictions = dict[str, Any]
"""Prediction of each head for one image."""


class HeadPreprocessing(Preprocessing):
    """Preprocessing of several heads, each with its own module."""

    def __init__(self, heads: Mapping[str, Preprocessing]) -> None:
        super().__init__()
        self.heads = nn.ModuleDict(heads)

    def loader_size(self, height: int, width: int) -> tuple[int, int] | None:
        """See `Preprocessing.loader_size`; None if the heads resize an image to different sizes."""
        return self.loader_size_of(list(self.heads), height, width)

    def loader_size_of(self, heads: Sequence[str], height: int, width: int) -> tuple[int, int] | None:
        """Return the size for an image that only some of the heads use; see `loader_size`."""
        modules = [module for name in heads if isinstance(module := self.heads[name], Preprocessing)]
        sizes = {module.loader_size(height, width) for module in modules}
        return sizes.pop() if len(sizes) == 1 else None


@pipelines.register("multi")
class MultiPipeline(ModelPipeline[HeadPredictions, MultiResult]):
    """A model of several heads with the pipeline of each head.

    The heads that prepare an image in the same way share the forward pass of the backbone.

    Args:
        network: the model.
        heads: for each head, the pipeline of its task with `network.head(name)` as network.

    Attributes:
        heads: the pipelines of the heads by name. Their classes, options and results are those of a single model.

    Raises:
        ConfigError: a pipeline is missing or is one of another network, or the heads normalize images differently.

    Example:
        >>> import numpy as np
        >>> import visionkit as vk
        >>> heads = {
        ...     "regions": {"name": "unet", "num_classes": 2},
        ...     "tags": {"name": "classifier", "num_classes": 3, "multi_label": True},
        ... }
        >>> model = vk.MultiHead(vk.create_backbone("resnet18", weights="none"), num_classes=5, heads=heads)
        >>> regions = vk.SegmentationPipeline(model.head("regions"), ["sky", "road"])
        >>> tags = vk.ClassificationPipeline(model.head("tags"), ["day", "night", "rain"])
        >>> pipeline = vk.MultiPipeline(model, {"regions": regions, "tags": tags})
        >>> result = pipeline.predict(np.zeros((48, 64, 3), np.uint8))[0]
        >>> result.heads["regions"].mask.shape, len(result.heads["tags"].scores)
        ((48, 64), 3)
    """

    task: ClassVar[str] = "multi"
    option_types: ClassVar[dict[str, type]] = {}
    network: MultiHead
    preprocessing: HeadPreprocessing

    def __init__(self, network: MultiHead, heads: Mapping[str, ModelPipeline[Any, Any]]) -> None:
        Pipeline.__init__(self)  # options and preprocessing are those of the heads
        for name in network.heads:
            if name not in heads or heads[name].network is not network.head(name):
                raise ConfigError(f"heads: {name} needs a pipeline whose network is network.head({name!r})")
        for name in heads:
            network.head(name)  # an error if there is none
        _check_normalization(heads)
        self.network = network
        self.heads = {name: heads[name] for name in network.heads}
        network.backbone.to(memory_format=self.memory_format)
        self.preprocessing = HeadPreprocessing({name: head.preprocessing for name, head in self.heads.items()})
        self._set_classes(
            [f"{name}/{class_name}" for name, head in self.heads.items() for class_name in head.class_names],
            [number for head in self.heads.values() for number in head.category_ids],
            None,
        )

    @property
    def display_threshold(self) -> MinScore:
        """See `Pipeline.display_threshold`; those of the heads."""
        of_heads = [per_class(head.display_threshold, len(head.class_names)) for head in self.heads.values()]
        return [float(value) for values in of_heads for value in values]

    @property
    def memory_format(self) -> torch.memory_format:
        """See `ModelPipeline.memory_format`; channels-last if it is that of a head."""
        formats = [head.memory_format for head in self.heads.values()]
        return torch.channels_last if torch.channels_last in formats else torch.contiguous_format

    @property
    def order(self) -> list[str]:
        """Names of the heads in the order in which they share most forward passes.

        Segmentation comes last: it predicts images of one size after those of another, and gets the maps of the others,
        which take all images at once.
        """
        return sorted(self.heads, key=lambda name: self.heads[name].task == "segmentation")

    def set_inference(self, options: Mapping[str, Any]) -> None:
        """Replace the inference options of some heads, by the name of the head."""
        for name, given in options.items():
            self.head(name).set_inference(given)

    def head(self, name: str) -> ModelPipeline[Any, Any]:
        """Return the pipeline of a head. It shares the weights of this pipeline.

        Raises:
            ConfigError: there is no such head.
        """
        self.network.head(name)  # an error if there is none
        return self.heads[name]

    def single(self, name: str) -> ModelPipeline[Any, Any]:
        """Return a head as an ordinary pipeline with a network of its own, and copies of all weights.

        Raises:
            ConfigError: there is no such head.
        """
        head = self.head(name)
        pipeline = type(head).from_description(head.description(), self.network.single(name))
        return pipeline.to(self.device).train(self.training)

    def pass_of(self, name: str) -> AbstractContextManager[None]:
        """Return the context of a head's prediction inside `network.one_pass()`.

        The maps of tiles are not kept: no other head gets equal ones, and those of all tiles of an image need much
        memory.
        """
        return self.network.without_keeping() if self.head(name).predicts_tiles else nullcontext()

    def forward(self, images: Sequence[Tensor]) -> list[HeadPredictions]:
        """Return the prediction of each head for uint8 images [3, H, W] of any size."""
        predictions = {}
        with self.network.one_pass():
            for name in self.order:
                with self.pass_of(name):
                    predictions[name] = self.heads[name](images)
        return [{name: predictions[name][index] for name in self.heads} for index in range(len(images))]

    def result(self, prediction: HeadPredictions, source: Path | None = None) -> MultiResult:
        """See `Pipeline.result`."""
        return MultiResult.of_heads({name: self.heads[name].result(prediction[name], source) for name in prediction})

    def description(self) -> dict[str, Any]:
        """See `ModelPipeline.description`. It contains the description of each head."""
        return {**super().description(), "heads": {name: head.description() for name, head in self.heads.items()}}

    @classmethod
    def from_description(cls, description: Mapping[str, Any], network: Model) -> "MultiPipeline":
        """See `ModelPipeline.from_description`.

        Raises:
            CheckpointError: the descriptions are not those of the network's heads.
        """
        parts = description.get("heads") or {}
        if not isinstance(network, MultiHead) or list(parts) != list(network.heads):
            raise CheckpointError(f"its heads are {', '.join(parts) or 'missing'}, and its network has others")
        heads = {
            name: pipelines.get(part["task"]).from_description(part, network.head(name)) for name, part in parts.items()
        }
        pipeline = cls(network, heads)
        pipeline.bit_depth = description.get("bit_depth")
        return pipeline


def _check_normalization(heads: Mapping[str, ModelPipeline[Any, Any]]) -> None:
    """Raise ConfigError if two heads normalize images differently, which their common backbone is not trained for."""
    used = {
        name: (tuple(head.preprocess_options.mean or ()), tuple(head.preprocess_options.std or ()))
        for name, head in heads.items()
    }
    first = next(iter(used))
    for name, statistics in used.items():
        if statistics != used[first]:
            raise ConfigError(
                f"the heads {first} and {name} normalize images differently, and share one backbone\n"
                "give both the same preprocess.mean and std, or none"
            )
