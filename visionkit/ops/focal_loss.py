"""Focal loss (Lin et al. 2017, section 3) with class indices instead of one-hot targets."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from visionkit.ops.waiting import rows_of
from visionkit.option_checks import check_at_least, check_within


@dataclass(frozen=True)
class FocalLossOptions:
    """Focal loss of a detector (Lin et al. 2017, section 4.1).

    Attributes:
        alpha: weight of positive examples, in 0..1; negative ones weigh 1 - alpha.
        gamma: exponent that lowers the loss of well classified examples.

    Raises:
        ConfigError: a value is out of its range.

    Example:
        >>> import visionkit as vk
        >>> vk.FocalLossOptions(gamma=1.5).gamma
        1.5
    """

    alpha: float = 0.25
    gamma: float = 2.0

    def __post_init__(self) -> None:
        check_within(0, 1, alpha=self.alpha)
        check_at_least(0, gamma=self.gamma)


def focal_loss(logits: Tensor, classes: Tensor, alpha: float, gamma: float) -> Tensor:
    """Compute the sum of the focal loss over the boxes and classes of each image, each class with its own sigmoid.

    The sum equals `torchvision.ops.sigmoid_focal_loss` on one-hot targets. Those are not made: all examples are first
    counted as negative, and the few positive ones are corrected.

    Args:
        logits: float [B, A, K].
        classes: int64 [B, A], 1..K for objects, 0 for background, -1 for boxes that are ignored.
        alpha: weight of positive examples, see `FocalLossOptions`.
        gamma: exponent, see `FocalLossOptions`.

    Returns:
        [B].
    """
    negative = (1 - alpha) * _sigmoid_power(logits, gamma) * functional.softplus(logits)
    per_image = negative.sum(dim=-1).masked_fill(classes < 0, 0.0).sum(dim=-1)
    rows = rows_of((classes > 0).flatten())
    label = classes.flatten()[rows, None] - 1
    positive_logits, counted = (
        values.flatten(0, 1)[rows].gather(1, label.clamp(min=0)) for values in (logits, negative)
    )
    positive = alpha * _sigmoid_power(-positive_logits, gamma) * functional.softplus(-positive_logits)
    correction = (positive - counted).masked_fill(label < 0, 0.0).squeeze(1)
    if not isinstance(rows, slice):
        correction = correction.new_zeros(classes.numel()).index_copy(0, rows, correction)
    return per_image + correction.view_as(classes).sum(dim=-1)


def _sigmoid_power(logits: Tensor, gamma: float) -> Tensor:
    """Return sigmoid(logits) ** gamma with a finite gradient for every logit."""
    if 0 < gamma < 1:  # the derivative of such a power is infinite at 0, where a sigmoid of float32 ends below -104
        return (gamma * functional.logsigmoid(logits)).exp()
    return logits.sigmoid().pow(gamma)
