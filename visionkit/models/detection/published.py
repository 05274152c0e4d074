"""Values of a whole detector: torchvision's COCO file, its training scripts' files, or our own checkpoints."""

import hashlib
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from visionkit.backbones.contract import Backbone
from visionkit.backbones.published import PublishedWeights
from visionkit.models.weights import State, load_whole, read_state

logger = logging.getLogger("visionkit")

PYRAMID_RENAMED = (
    (r"^backbone\.body\.", "backbone."),
    (r"^backbone\.fpn\.", "neck."),
    # Files from before torchvision 0.13 lack the inner index of its convolution blocks.
    (r"^(neck\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)$", r"\1.0.\2"),
)
"""How torchvision's keys of a backbone with a feature pyramid read here: patterns and what replaces them."""


@dataclass(frozen=True)
class PublishedDetector:
    """A detector whose values torchvision publishes.

    Attributes:
        url: of the file trained on COCO.
        hash_without_epsilon: beginning of its SHA-256, if torchvision runs it with BatchNorm's epsilon at 0, else None.
        renamed: patterns of torchvision's keys and what replaces them.
        predictors: beginnings of the keys whose shapes follow from the number of classes.
        classes_in: how many classes a state dict under our names knows.
    """

    url: str
    hash_without_epsilon: str | None
    renamed: tuple[tuple[str, str], ...]
    predictors: tuple[str, ...]
    classes_in: Callable[[State], int]

    def load(self, network: nn.Module, backbone: Backbone, weights: str) -> None:
        """Load a whole detector into `network`.

        Where the file knows other classes, what predicts classes keeps its fresh values; this is logged, and no row
        of it is copied.

        Args:
            network: the detector.
            backbone: its backbone.
            weights: "coco" for the published file, or the path of a file.

        Raises:
            CheckpointError: the file cannot be had or read, or holds another network.
        """
        file = PublishedWeights(self.url, (self.url.rsplit("/", 1)[-1],))
        path = file.obtain() if weights == "coco" else Path(weights)
        state = read_state(path, self.translate)
        if self.hash_without_epsilon is not None and _hash(path).startswith(self.hash_without_epsilon):
            _compensate_epsilon(state, backbone)
        self._leave_other_classes(state, network, str(path))
        load_whole(network, state, str(path))
        backbone.initialised_from, backbone.holds_random_values = str(path), False

    def translate(self, published: State) -> State:
        """Rename torchvision's keys to those of our network."""
        return {self._rename(key): value for key, value in published.items()}

    def _rename(self, key: str) -> str:
        for pattern, replacement in self.renamed:
            key = re.sub(pattern, replacement, key)
        return key

    def _leave_other_classes(self, state: State, network: nn.Module, source: str) -> None:
        own = network.state_dict()
        fitted = [key for key in state if key.startswith(self.predictors) and key in own]
        if all(state[key].shape == own[key].shape for key in fitted):
            logger.info("%s: the whole network is loaded, with the predictor of its classes", source)
            return
        of_file, of_network = self.classes_in(state), self.classes_in(own)
        logger.warning("%s knows %d classes, not %d: what predicts them stays new", source, of_file, of_network)
        state.update({key: own[key] for key in fitted})


def load_checkpoint(network: nn.Module, backbone: Backbone, weights: str) -> None:
    """Load a visionkit checkpoint of the same detector, for one that nobody publishes values of.

    Raises:
        CheckpointError: the file cannot be read or holds another network.
    """
    load_whole(network, read_state(Path(weights), dict), weights)
    backbone.initialised_from, backbone.holds_random_values = weights, False


def _compensate_epsilon(state: State, backbone: nn.Module) -> None:
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
