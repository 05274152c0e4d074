"""The deterministic way of a whole picture to a segmenter: resize if asked to, normalise; masks go along."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms.v2 import functional as transforms

from visionkit.data.preprocess import Normalise
from visionkit.errors import RecipeError
from visionkit.ops.ignore import IGNORE


@dataclass
class ScalePreprocess:
    """How pictures are brought to a segmenter's input; as a rule they stay as large as they are.

    Attributes:
        short_side: length in pixels that the shorter side is resized to; None leaves pictures as they are.
        long_side: bound in pixels on the longer side; where it would be passed, it decides the scale instead.
        scale: factor on the size of every picture, the same for a crop as for the whole.
        mean: per channel, on pictures in 0..1; None takes that of the backbone's weights.
        std: likewise.

    Raises:
        RecipeError: a side or the scale is no length, or they contradict each other.
    """

    short_side: int | None = None
    long_side: int | None = None
    scale: float = 1.0
    mean: list[float] | None = None
    std: list[float] | None = None

    def __post_init__(self) -> None:
        short, long = self.short_side, self.long_side
        if min(short or 1, long or 1) < 1 or (short and long and long < short):
            raise RecipeError(f"preprocess: 1 <= short_side {short} <= long_side {long} must hold where they are given")
        if self.scale <= 0 or (self.scale != 1 and (short or long)):
            raise RecipeError(f"preprocess.scale is {self.scale}: give a factor above 0 without sides, or sides alone")

    def module(self) -> "ScalePreprocessing":
        """The tensor module that does so; `mean` and `std` must be given."""
        return ScalePreprocessing(**dataclasses.asdict(self))


class ScalePreprocessing(nn.Module):
    """Resize and normalise pictures, and make batches of them with their masks.

    Args:
        short_side, long_side, scale: see `ScalePreprocess`.
        mean, std: three numbers each, on pictures in 0..1.
    """

    def __init__(
        self,
        short_side: int | None,
        long_side: int | None,
        scale: float,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        self.short_side, self.long_side, self.factor = short_side, long_side, scale
        self.normalise = Normalise(mean, std)

    def scale(self, height: int, width: int) -> float:
        """Resized over stored length of a picture of `height` x `width` pixels."""
        bounds = [
            wanted / length
            for wanted, length in ((self.short_side, min(height, width)), (self.long_side, max(height, width)))
            if wanted is not None
        ]
        return min(bounds) if self.short_side is not None else min([self.factor, *bounds])

    def forward(self, pictures: Tensor, scale: float) -> Tensor:
        """Prepare pictures of one size for the network.

        Args:
            pictures: uint8 [B, 3, H, W], RGB.
            scale: resized over stored length.

        Returns:
            Normalised float32 [B, 3, h, w].
        """
        size = [max(round(side * scale), 1) for side in pictures.shape[-2:]]
        if size != list(pictures.shape[-2:]):
            pictures = transforms.resize(pictures, size, antialias=True)
        return self.normalise(pictures)

    def batch(self, pictures: Sequence[Tensor], masks: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """One batch for training: resized, and smaller pictures filled up with pixels that teach nothing.

        Args:
            pictures: uint8 [3, H, W] each, of any size.
            masks: uint8 [H, W] each, class of each pixel or 255.

        Returns:
            Normalised float32 [B, 3, h, w], zeros beyond each picture, and int64 classes [B, h, w], 255 there.
        """
        prepared = [self(picture[None], self.scale(*picture.shape[-2:]))[0] for picture in pictures]
        resized = [
            functional.interpolate(mask[None, None].float(), picture.shape[-2:], mode="nearest-exact")[0, 0]
            if mask.shape != picture.shape[-2:]
            else mask
            for mask, picture in zip(masks, prepared, strict=True)
        ]
        height, width = (max(lengths) for lengths in zip(*(picture.shape[-2:] for picture in prepared), strict=True))
        return (
            torch.stack([_filled(picture, height, width, 0.0) for picture in prepared]),
            torch.stack([_filled(mask, height, width, IGNORE) for mask in resized]).long(),
        )


def _filled(plane: Tensor, height: int, width: int, value: float) -> Tensor:
    """[..., h, w] with `value` to the right and below, up to [..., height, width]."""
    return functional.pad(plane, (0, width - plane.shape[-1], 0, height - plane.shape[-2]), value=value)
