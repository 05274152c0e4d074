"""Several looks at each picture at test time: at other scales, and mirrored; what detectors find in them, made one."""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

from torch import Tensor, nn

from visionkit.data.preprocess import Prediction
from visionkit.errors import RecipeError
from visionkit.ops.box_fusion import fuse_boxes
from visionkit.ops.boxes import mirrored
from visionkit.ops.suppression import Candidates, Suppression


class Look(NamedTuple):
    """One way to look at a picture.

    Attributes:
        factor: on the size that the network sees it in.
        flipped: whether left and right change places.
    """

    factor: float = 1.0
    flipped: bool = False

    def picture(self, picture: Tensor) -> Tensor:
        """A picture or map [..., H, W] as it is looked at, in its own size, and the other way round."""
        return picture.flip(-1) if self.flipped else picture

    def boxes(self, boxes: Tensor, width: int) -> Tensor:
        """Boxes [N, 4] of a picture `width` pixels wide in `picture` of it, and the other way round."""
        return mirrored(boxes, width) if self.flipped else boxes


def looks_at(scales: Sequence[float], flip: bool) -> list[Look]:
    """A look at each scale, with `flip` followed by one at its mirror image."""
    return [Look(factor, flipped) for factor, flipped in product(scales, [False, True] if flip else [False])]


def check_factors(scales: Sequence[float]) -> None:
    """Refuse scales that are no factors.

    Raises:
        RecipeError: there is none, or one is not above 0.
    """
    if not scales or min(scales) <= 0:
        raise RecipeError(f"evaluation.scales is {list(scales)}, and must hold factors above 0")


def fused(looks: Sequence[Prediction], iou: float, most: int | None) -> Prediction:
    """What several looks found in one picture, made one by weighted box fusion.

    Args:
        looks: boxes, scores and labels of each, in the pixels of the stored picture.
        iou: see `fuse_boxes`.
        most: detections that are kept at most, the best; None keeps all.

    Returns:
        Of a single look what it found, as it is.
    """
    if len(looks) == 1:
        return looks[0]
    kept = fuse_boxes([Candidates(look["boxes"], look["scores"], look["labels"]) for look in looks], iou)
    return {name: column[:most] for name, column in kept._asdict().items()}


def most_detections(network: nn.Module) -> int | None:
    """How many detections of a picture a network, or the most generous of several, may give; None: it does not say."""
    return max((kind.most for kind in _suppressions(network)), default=None)


def least_score(network: nn.Module) -> float:
    """Score that a detection of a network, or of the most generous of several, must pass to be told; 0: any."""
    return min((kind.score_threshold for kind in _suppressions(network)), default=0.0)


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


def _suppressions(network: nn.Module) -> list[Suppression]:
    kinds = [getattr(module, "suppress", None) for module in network.modules()]
    return [kind for kind in kinds if isinstance(kind, Suppression)]
