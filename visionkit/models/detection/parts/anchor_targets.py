"""Targets of the anchors of one-stage detectors."""

from typing import NamedTuple

from torch import Tensor


class AnchorTargets(NamedTuple):
    """Targets of the anchors of a batch.

    Losses of matched anchors are computed on `rows`: on a CPU only the matched anchors, on a GPU all of them.

    Attributes:
        classes: int64 [B, A], 1..K for objects, 0 for background, -1 for anchors that are ignored in the loss.
        rows: index of P of the B A anchors of all images.
        positive: bool [P], whether the anchor matches an object.
        boxes: float32 [P, 4], box of the matched object.
    """

    classes: Tensor
    rows: Tensor | slice
    positive: Tensor
    boxes: Tensor

    def select(self, values: Tensor) -> Tensor:
        """Return the `rows` [P, ...] of values [B, A, ...] of all anchors."""
        return values.flatten(0, 1)[self.rows]

    def place(self, values: Tensor) -> Tensor:
        """Return [B, A] with values [P] at the `rows`, and 0 elsewhere."""
        placed = values.new_zeros(self.classes.numel())
        placed[self.rows] = values
        return placed.view(self.classes.shape)

    def sum(self, losses: Tensor) -> Tensor:
        """Return the sum of the losses [P] or [P, n] of the matched anchors."""
        positive = self.positive if losses.ndim == 1 else self.positive[:, None]
        return losses.masked_fill(~positive, 0.0).sum()
