"""Several looks at each image at test time: at other scales, and mirrored; what detectors find in them, made one."""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

from torch import Tensor, nn

from visionkit.errors import RecipeError
from visionkit.ops.box_fusion import fuse_boxes
from visionkit.ops.boxes import mirrored
from visionkit.ops.nms import Candidates, NMSOptions
from visionkit.preprocessing.detection import Prediction


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
        RecipeError: there is none, or one is not above 0.
    """
    if not scales or min(scales) <= 0:
        raise RecipeError(f"evaluation.scales is {list(scales)}, and must hold factors above 0")


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
    return {name: column[:most] for name, column in kept._asdict().items()}


def most_detections(network: nn.Module) -> int | None:
    """How many detections of an image a network, or the most generous of several, may give; None: it does not say."""
    return max((kind.most for kind in _nms_options(network)), default=None)


def min_score(network: nn.Module) -> float:
    """Score that a detection of a network, or of the most generous of several, must pass to be told; 0: any."""
    return min((kind.score_threshold for kind in _nms_options(network)), default=0.0)


def refuse_masks(network: nn.Module, reason: str) -> None:
    """Refuse a network that gives masks, which fusion of boxes would lose.

    Raises:
        RecipeError: so it is; `reason` is the line of the recipe, or what else asked for fusion.
    """
    if getattr(network, "gives_masks", False):
        raise RecipeError(
            f"{reason}: several looks are fused box by box, and {type(network).__name__} gives masks, too\n"
            "leave scales and flip out and give one checkpoint, or take a detector of boxes such as faster_rcnn"
        )


def _nms_options(network: nn.Module) -> list[NMSOptions]:
    kinds = [getattr(module, "nms", None) for module in network.modules()]
    return [kind for kind in kinds if isinstance(kind, NMSOptions)]
