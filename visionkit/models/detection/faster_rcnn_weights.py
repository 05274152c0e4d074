"""Values of a whole Faster R-CNN: torchvision's COCO file, its training scripts' files, or our own checkpoints."""

import hashlib
import logging
import re
from pathlib import Path

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

from visionkit.backbones.contract import Backbone
from visionkit.backbones.published import PublishedWeights
from visionkit.models.weights import State, load_whole, read_state

logger = logging.getLogger("visionkit")

COCO_URL = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.url
HASH_WITHOUT_EPSILON = "258fb6c6"
"""SHA-256 (its beginning) of the file that torchvision trained with BatchNorm's epsilon at 0 and runs so."""

PREDICTOR = "roi_heads.box_predictor."

_RENAMED = [
    (r"^backbone\.body\.", "backbone."),
    (r"^backbone\.fpn\.", "neck."),
    # Files from before torchvision 0.13 lack the inner index of its convolution blocks.
    (r"^(neck\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)$", r"\1.0.\2"),
    (r"^rpn\.head\.conv\.(weight|bias)$", r"rpn.head.conv.0.0.\1"),
]


def load_faster_rcnn(network: nn.Module, backbone: Backbone, weights: str) -> None:
    """Load a whole Faster R-CNN into `network`.

    Where the file knows another number of classes, the classifier and box regressor keep their fresh values; this is
    logged, and no row of them is copied.

    Args:
        network: a `FasterRCNN`.
        backbone: its backbone.
        weights: "coco" for torchvision's COCO file of ResNet-50 with FPN, or the path of a file.

    Raises:
        CheckpointError: the file cannot be had or read, or holds another network.
    """
    path = PublishedWeights(COCO_URL, (COCO_URL.rsplit("/", 1)[-1],)).obtain() if weights == "coco" else Path(weights)
    state = read_state(path, translate)
    if _hash(path).startswith(HASH_WITHOUT_EPSILON):
        _compensate_epsilon(state, backbone)
    _leave_other_classes(state, network, str(path))
    load_whole(network, state, str(path))
    backbone.initialised_from, backbone.holds_random_values = str(path), False


def translate(published: State) -> State:
    """Rename the keys of torchvision's `fasterrcnn_*_fpn` to those of `FasterRCNN`."""
    return {_rename(key): value for key, value in published.items()}


def _rename(key: str) -> str:
    for pattern, replacement in _RENAMED:
        key = re.sub(pattern, replacement, key)
    return key


def _compensate_epsilon(state: State, backbone: nn.Module) -> None:
    """Take our epsilon off the variances: sqrt(var - eps + eps) is what the file was trained with."""
    for name, layer in backbone.named_modules():
        key = f"backbone.{name}.running_var"
        if isinstance(layer, _BatchNorm) and key in state:
            state[key] = state[key] - layer.eps


def _leave_other_classes(state: State, network: nn.Module, source: str) -> None:
    own = network.state_dict()
    predictor = [key for key in state if key.startswith(PREDICTOR) and key in own]
    if all(state[key].shape == own[key].shape for key in predictor):
        logger.info("%s: the whole network is loaded, with the predictor of its classes", source)
        return
    of_file, of_network = (len(values[f"{PREDICTOR}cls_score.bias"]) - 1 for values in (state, own))
    logger.warning("%s knows %d classes, not %d: classifier and box regressor stay new", source, of_file, of_network)
    state.update({key: own[key] for key in predictor})


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
