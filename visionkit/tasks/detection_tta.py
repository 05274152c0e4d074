"""Several looks at each image at test time: at other scales, and mirrored; what detectors find in them, made one."""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

from torch import Tensor

from visionkit.errors import ConfigError
from visionkit.models.base import DetectionModel
from visionkit.ops.box_fusion import fuse_boxes
from visionkit.ops.boxes import mirrored
from visionkit.ops.nms import Candidates
from visionkit.structures import Prediction


class View(NamedTuple):
    """One way to look at an image.

    Attributes:
        factor: on the size that the network sees it in.
        flipped: whether left and right change places.
    """

    factor: float = 1.0
    flipped: bool = False

    def image(self, image: Tensor) -> Tensor:
        """An image or map [..., H, W] as it is looked at, in its own size, and the other way round."""
        return image.flip(-1) if self.flipped else image

    def boxes(self, boxes: Tensor, width: int) -> Tensor:
        """Boxes [N, 4] of an image `width` pixels wide in `image` of it, and the other way round."""
        return mirrored(boxes, width) if self.flipped else boxes


def tta_views(scales: Sequence[float], flip: bool) -> list[View]:
    """A look at each scale, with `flip` followed by one at its mirror image."""
    return [View(factor, flipped) for factor, flipped in product(scales, [False, True] if flip else [False])]


def check_factors(scales: Sequence[float]) -> None:
    """Refuse scales that are no factors.

    Raises:
        ConfigError: there is none, or one is not above 0.
    """
    if not scales or min(scales) <= 0:
        raise ConfigError(f"evaluation.scales is {list(scales)}, and must hold factors above 0")


def fused(views: Sequence[Prediction], iou: float, most: int | None) -> Prediction:
    """Fuse the predictions of several views of one image by weighted box fusion.

    Args:
        views: boxes, scores and labels of each, in the pixels of the stored image.
        iou: see `fuse_boxes`.
        most: detections that are kept at most, the best; None keeps all.

    Returns:
        Of a single look what it found, as it is.
    """
    if len(views) == 1:
        return views[0]
    kept = fuse_boxes([Candidates(view["boxes"], view["scores"], view["labels"]) for view in views], iou)
    return {"boxes": kept.boxes[:most], "scores": kept.scores[:most], "labels": kept.labels[:most]}


def most_detections(network: DetectionModel) -> int | None:
    """Return how many detections of an image a model may give at most; None where it does not say."""
    return network.nms_options.most if network.nms_options is not None else None


def min_score(network: DetectionModel) -> float:
    """Return the score that a detection of a model must exceed to be returned; 0 for any."""
    return network.nms_options.score_threshold if network.nms_options is not None else 0.0


def refuse_masks(network: DetectionModel, reason: str) -> None:
    """Refuse a network that gives masks, which fusion of boxes would lose.

    Raises:
        ConfigError: so it is; `reason` is the line of the recipe, or what else asked for fusion.
    """
    if network.predicts_masks:
        raise ConfigError(
            f"{reason}: several looks are fused box by box, and {type(network).__name__} gives masks, too\n"
            "leave scales and flip out and give one checkpoint, or take a detector of boxes such as faster_rcnn"
        )
