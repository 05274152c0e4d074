"""Values of a whole detector: torchvision's COCO file, its training scripts' files, or our own checkpoints."""

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
from visionkit.models.load_model import load_model_weights

logger = logging.getLogger("visionkit")

PYRAMID_RENAMED = (
    (r"^backbone\.body\.", "backbone."),
    (r"^backbone\.fpn\.", "neck."),
    # Files from before torchvision 0.13 lack the inner index of its convolution blocks.
    (r"^(neck\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)$", r"\1.0.\2"),
)
"""How torchvision's keys of a backbone with a feature pyramid read here: patterns and what replaces them."""

COCO = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"][1:]
"""For each of the ids 1 to 90 the class that it means in torchvision's files, "N/A" where COCO has left it out."""

USED = [place for place, name in enumerate(COCO) if name != "N/A"]
"""Places among them of COCO's 80 classes."""


@dataclass(frozen=True)
class PublishedDetector:
    """A detector whose values torchvision publishes.

    Attributes:
        url: of the file trained on COCO.
        hash_without_epsilon: beginning of its SHA-256, if torchvision runs it with BatchNorm's epsilon at 0, else None.
        renamed: patterns of torchvision's keys and what replaces them.
        predictors: beginnings of the keys whose rows follow from the number of classes, and how many rows of a class
            follow each other, once or for each anchor.
        background: rows of background before those of the classes, 0 or 1.
        normalization: how torchvision normalizes its images.
    """

    url: str
    hash_without_epsilon: str | None
    renamed: tuple[tuple[str, str], ...]
    predictors: Mapping[str, int]
    background: int = 1
    normalization: Normalization = Normalization(Backbone.mean, Backbone.std)  # noqa: RUF009 (a constant)

    def load(self, network: nn.Module, backbone: Backbone, weights: str) -> None:
        """Load a whole detector into `network`.

        Of the 90 ids in torchvision's files a network of 80 classes takes those that COCO uses, in their order. Where
        the file knows other classes, what predicts classes keeps its fresh values. Both are logged.

        Args:
            network: the detector.
            backbone: its backbone.
            weights: "coco" for the published file, or the path of a file.

        Raises:
            CheckpointError: the file cannot be had or read, or holds another network.
        """
        file = PublishedWeights(self.url, (self.url.rsplit("/", 1)[-1],))
        path = file.obtain() if weights == "coco" else Path(weights).expanduser()

        def adapt(published: StateDict) -> StateDict:
            state = self.translate(published)
            if state.keys() == published.keys():  # of a network of ours
                return published
            if self.hash_without_epsilon is not None and _hash(path).startswith(self.hash_without_epsilon):
                _compensate_epsilon(state, backbone)
            return self._of_cocos_classes(state, network)

        load_model_weights(network, backbone, path, tuple(self.predictors), adapt, self.normalization)

    def translate(self, published: StateDict) -> StateDict:
        """Rename torchvision's keys to those of our network."""
        return {self._rename(key): value for key, value in published.items()}

    def _rename(self, key: str) -> str:
        for pattern, replacement in self.renamed:
            key = re.sub(pattern, replacement, key)
        return key

    def _of_cocos_classes(self, state: StateDict, network: nn.Module) -> StateDict:
        """`state`, of its classes for COCO's ids only those for COCO's classes, where the network knows as many."""
        rows = {key: each for key in state for start, each in self.predictors.items() if key.startswith(start)}
        kept = [*range(self.background), *(self.background + place for place in USED)]
        own, known = network.state_dict(), self.background + len(COCO)
        fits = (key in own and len(state[key]) * len(kept) == len(own[key]) * known for key in rows)
        if network.num_classes != len(USED) or not rows or not all(fits):
            return state
        logger.info("of the file's %d classes %d are taken for COCO's in the order of their ids", len(COCO), len(USED))
        chosen = {key: state[key].unflatten(0, (-1, known, each))[:, kept].flatten(0, 2) for key, each in rows.items()}
        return {**state, **chosen}


def _compensate_epsilon(state: StateDict, backbone: nn.Module) -> None:
    """Take our epsilon off the variances: sqrt(var - eps + eps) is what the file was trained with."""
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
