"""Weights of whole detectors: torchvision's COCO files, files of its training scripts, and visionkit checkpoints."""

import hashlib
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

from visionkit.backbones.base import Backbone
from visionkit.backbones.published_weights import PublishedWeights
from visionkit.backbones.weights_file import Normalization, StateDict
from visionkit.models.base import Model
from visionkit.models.load_model import load_model_weights

logger = logging.getLogger("visionkit")

PYRAMID_RENAMED = (
    (r"^backbone\.body\.", "backbone."),
    (r"^backbone\.fpn\.", "neck."),
    # Files from before torchvision 0.13 lack the inner index of its convolution blocks.
    (r"^(neck\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)$", r"\1.0.\2"),
)
"""Patterns of torchvision's keys of a backbone with a feature pyramid, and their replacements."""

COCO = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"][1:]
"""Class of each of the category ids 1 to 90 in torchvision's files; "N/A" for ids that COCO does not use."""

USED = [index for index, name in enumerate(COCO) if name != "N/A"]
"""Indices into `COCO` of the 80 classes."""


@dataclass(frozen=True)
class PublishedDetector:
    """Weights of a detector that torchvision publishes.

    Attributes:
        url: address of the file trained on COCO.
        hash_without_epsilon: start of its SHA-256 if torchvision runs it with a BatchNorm epsilon of 0, else None.
        renamed: patterns of torchvision's keys and their replacements.
        predictors: prefixes of the keys whose rows depend on the number of classes, and the number of consecutive rows
            of a class, in total or for each anchor.
        background: number of background rows before those of the classes, 0 or 1.
        normalization: normalization of torchvision's images.
    """

    url: str
    hash_without_epsilon: str | None
    renamed: tuple[tuple[str, str], ...]
    predictors: Mapping[str, int]
    background: int = 1
    normalization: Normalization = Normalization(Backbone.mean, Backbone.std)  # noqa: RUF009 (a constant)

    def load(self, model: Model, backbone: Backbone, weights: str) -> None:
        """Load the weights of a whole detector.

        A model with 80 classes gets those of the 90 category ids in torchvision's files that COCO uses, in their order.
        If the file is for another number of classes, the prediction layers keep their initialization. Both are logged.

        Args:
            model: the detector.
            backbone: its backbone.
            weights: "coco" for the published file, or the path of a file.

        Raises:
            CheckpointError: the file cannot be downloaded or read, or is for another model.
        """
        file = PublishedWeights(self.url, (self.url.rsplit("/", 1)[-1],))
        path = file.obtain() if weights == "coco" else Path(weights).expanduser()

        def adapt(published: StateDict) -> StateDict:
            state = self.translate(published)
            if state.keys() == published.keys():  # the file has our keys
                return published
            if self.hash_without_epsilon is not None and _hash(path).startswith(self.hash_without_epsilon):
                _compensate_epsilon(state, backbone)
            return self._select_coco_classes(state, model)

        load_model_weights(model, backbone, path, tuple(self.predictors), adapt, self.normalization)

    def translate(self, published: StateDict) -> StateDict:
        """Return the state with our keys."""
        return {self._rename(key): value for key, value in published.items()}

    def _rename(self, key: str) -> str:
        for pattern, replacement in self.renamed:
            key = re.sub(pattern, replacement, key)
        return key

    def _select_coco_classes(self, state: StateDict, model: Model) -> StateDict:
        """Return `state` with the rows of COCO's 80 classes only, if the model has 80 classes."""
        rows_per_class = {
            key: rows for key in state for prefix, rows in self.predictors.items() if key.startswith(prefix)
        }
        kept = [*range(self.background), *(self.background + index for index in USED)]
        own, classes = model.state_dict(), self.background + len(COCO)
        fits = (key in own and len(state[key]) * len(kept) == len(own[key]) * classes for key in rows_per_class)
        if model.num_classes != len(USED) or not rows_per_class or not all(fits):
            return state
        logger.info("%d of the file's %d category ids are used, those of COCO's classes", len(USED), len(COCO))
        selected = {
            key: state[key].unflatten(0, (-1, classes, rows))[:, kept].flatten(0, 2)
            for key, rows in rows_per_class.items()
        }
        return {**state, **selected}


def _compensate_epsilon(state: StateDict, backbone: nn.Module) -> None:
    """Subtract our epsilon from the variances, so that sqrt(var - eps + eps) is the training's standard deviation."""
    for name, layer in backbone.named_modules():
        key = f"backbone.{name}.running_var"
        if isinstance(layer, _BatchNorm) and key in state:
            state[key] = state[key] - layer.eps


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
