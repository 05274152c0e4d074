"""What the networks share that label each pixel."""

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional


class SegmentationNetwork(nn.Module):
    """Base of networks with logits for each pixel, on images of any size.

    A network that halves and doubles maps needs sides of whole multiples. Zeros, which after normalizing are the mean
    color, are added to the right and below, and what the network says of them is cut away: what it says of the
    image stands where the image stands.

    Attributes:
        num_classes: K.
        stride: what the sides are filled up to multiples of, as a rule the network's total stride; 1 fills nothing.
        smallest: height and width in pixels that the network needs at least, a multiple of `stride`.
    """

    task: ClassVar[str] = "segmentation"
    num_classes: int
    stride: int = 1
    smallest: int = 0

    def forward(self, x: Tensor) -> Tensor:
        """Label each pixel.

        Args:
            x: [B, 3, H, W], normalized with the backbone's `mean` and `std`; any size.

        Returns:
            Logits [B, K, H, W].
        """
        height, width = x.shape[-2:]
        below, right = (max(-side % self.stride, self.smallest - side) for side in (height, width))
        if not (below or right):
            return self._logits(x)
        return self._logits(functional.pad(x, (0, right, 0, below)))[..., :height, :width]

    def _logits(self, x: Tensor) -> Tensor:
        """From [B, 3, h, w], h and w multiples of `stride`, to [B, K, h, w]."""
        raise NotImplementedError
