"""Batches whose images are blended with each other, and their classes with them."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torchvision.transforms import v2

from visionkit.errors import ConfigError

Mixing = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass
class MixingOptions:
    """Blending of the images of a training batch; with both, one of the two is drawn for each batch.

    Attributes:
        mixup_alpha: of the Beta(alpha, alpha) that the shares are drawn from (Zhang 2017, section 2; .2 for
            ImageNet); 0 switches mixup off.
        cutmix_alpha: likewise for the pasted rectangle's area (Yun 2019, section 3; 1); 0 switches cutmix off.

    Raises:
        ConfigError: one is negative or not finite.

    Example:
        >>> import visionkit as vk
        >>> vk.MixingOptions(mixup_alpha=0.2).cutmix_alpha
        0.0
    """

    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0

    def __post_init__(self) -> None:
        if not all(0 <= alpha < math.inf for alpha in (self.mixup_alpha, self.cutmix_alpha)):
            raise ConfigError(f"mixing: both alphas must be at least 0, not {self.mixup_alpha}, {self.cutmix_alpha}")


def make_mixing(options: MixingOptions, classes: int) -> Mixing | None:
    """The transform of a batch, or None where both are off.

    Each image meets its neighbor in the batch; in a batch of one it meets itself and stays as it is.

    Returns:
        From images [B, 3, H, W] and classes int64 [B] (or their shares, float [B, K]) to mixed images and
        their shares, float [B, K]. It draws from torch's global generator.
    """
    asked = {v2.MixUp: options.mixup_alpha, v2.CutMix: options.cutmix_alpha}
    steps = [kind(alpha=alpha, num_classes=classes) for kind, alpha in asked.items() if alpha]
    if not steps:
        return None
    return steps[0] if len(steps) == 1 else v2.RandomChoice(steps)
