"""Mixup and CutMix, which blend the images of a batch and their classes."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torchvision.transforms import v2

from visionkit.option_checks import check_at_least

Mixing = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass
class MixingOptions:
    """Mixup and CutMix of the images of a training batch. If both are on, one of them is drawn for each batch.

    Attributes:
        mixup_alpha: alpha of the Beta(alpha, alpha) distribution of the shares (Zhang 2017, section 2: 0.2 for
            ImageNet); 0 switches mixup off.
        cutmix_alpha: alpha for the area of the pasted rectangle (Yun 2019, section 3: 1); 0 switches CutMix off.

    Raises:
        ConfigError: a value is negative or not finite.

    Example:
        >>> import visionkit as vk
        >>> vk.MixingOptions(mixup_alpha=0.2).cutmix_alpha
        0.0
    """

    mixup_alpha: float = 0.0
    cutmix_alpha: float = 0.0

    def __post_init__(self) -> None:
        check_at_least(0, mixup_alpha=self.mixup_alpha, cutmix_alpha=self.cutmix_alpha)


def make_mixing(options: MixingOptions, classes: int) -> Mixing | None:
    """Return the transform of a batch, or None if mixup and CutMix are off.

    Each image is mixed with its neighbor in the batch. A batch of one image is not changed.

    Returns:
        A function of images [B, 3, H, W] and classes int64 [B] (or class shares, float [B, K]) that returns mixed
        images and their class shares, float [B, K]. It uses torch's global random generator.
    """
    asked = {v2.MixUp: options.mixup_alpha, v2.CutMix: options.cutmix_alpha}
    steps = [kind(alpha=alpha, num_classes=classes) for kind, alpha in asked.items() if alpha]
    if not steps:
        return None
    return steps[0] if len(steps) == 1 else v2.RandomChoice(steps)
