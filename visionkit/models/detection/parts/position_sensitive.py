"""Position-sensitive score maps and what is read from them (Dai et al. 2016, section 2)."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler
from torchvision.ops import ps_roi_align, ps_roi_pool

from visionkit.errors import ConfigError
from visionkit.models.detection.parts.roi_heads import RoIHeads, Sample, mean_losses
from visionkit.ops.hard_example_mining import hardest_of_each
from visionkit.ops.roi_align import SAMPLES
from visionkit.registry import suggest

PROPOSALS, SCORES, BOXES = "proposals", "scores", "boxes"
"""The maps by name: what the RPN sees, and those that regions are read from."""


def average_pool(maps: Tensor, regions: list[Tensor], size: int, scale: float) -> Tensor:
    """`torchvision.ops.ps_roi_pool`, which never reads a map's last row and column, and here does.

    Args:
        maps: [B, size size C, h, w].
        regions: per image [S, 4] in pixels; R of them together.
        size: cells of a region in each direction.
        scale: places of the map in a pixel.

    Returns:
        [R, C, size, size], the mean of the places that a cell covers, 0 where it covers none.
    """
    return ps_roi_pool(functional.pad(maps, (0, 1, 0, 1)), regions, size, scale)  # type: ignore[no-any-return]


POOLINGS: dict[str, Callable[..., Tensor]] = {
    "average": average_pool,
    "align": partial(ps_roi_align, sampling_ratio=SAMPLES),
}
"""How a region reads its cells: their mean with edges rounded to cells of the map, or points between these."""


class ScoreMaps(nn.Module):
    """For each of a region's k x k cells a map of each class and of each coordinate, over the whole image.

    Channel (c k + row) k + column is what the cell in that row and column of a region says about class, or coordinate,
    c. The layers begin as the authors' do: with a deviation of .01.

    Args:
        proposals_stage: the stage that the RPN sees.
        stage: the stage that the maps are made from.
        inputs: its channels.
        channels: of the 1x1 layer between (section 2: 1024).
        num_classes: K.
        cells: k.
    """

    def __init__(
        self, proposals_stage: str, stage: str, inputs: int, channels: int, num_classes: int, cells: int
    ) -> None:
        super().__init__()
        self.proposals_stage, self.stage = proposals_stage, stage
        self.reduce = nn.Conv2d(inputs, channels, 1)
        self.scores = nn.Conv2d(channels, cells**2 * (num_classes + 1), 1)
        self.boxes = nn.Conv2d(channels, cells**2 * 4, 1)
        for layer in (self.reduce, self.scores, self.boxes):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """From the backbone's maps to `proposals`, `scores` [B, k k (K + 1), h, w] and `boxes` [B, k k 4, h, w]."""
        reduced = functional.relu(self.reduce(maps[self.stage]))
        return {
            PROPOSALS: maps[self.proposals_stage],
            SCORES: self.scores(reduced),
            BOXES: self.boxes(reduced),
        }


class SampleAll(BalancedPositiveNegativeSampler):
    """Draws all that teaches: its losses say later which regions are learned from."""

    def __init__(self) -> None:
        super().__init__(0, 0.0)

    def __call__(self, matched_idxs: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """From classes [N] of each image to bool [N]: objects, and background."""
        return [classes > 0 for classes in matched_idxs], [classes == 0 for classes in matched_idxs]


class PositionSensitiveRoIHeads(RoIHeads):
    """Lets the cells of a region vote by their mean; no layer follows (section 2). One box serves all classes.

    With hard example mining all proposals are judged, and an image's costliest teach, classes and boxes together.
    Shrivastava et al. 2016 first drop what overlaps a costlier region by more than .7; the RPN's
    NMS has parted proposals as far already, and nothing more is dropped here.

    Args:
        pooling: how a region reads its cells, a name of `POOLINGS`.
        cells: k.
        stride: of the score maps, in pixels.
        num_classes: K.
        ohem: whether the `batch_size` regions with the highest losses learn, or as many drawn at random.
        batch_size: regions of each image in the loss.
        **options: of `RoIHeads`.

    Raises:
        ConfigError: no such pooling.
    """

    def __init__(
        self, pooling: str, cells: int, stride: int, num_classes: int, ohem: bool, batch_size: int, **options: Any
    ) -> None:
        super().__init__(batch_size=batch_size, **options)
        if pooling not in POOLINGS:
            raise ConfigError(f"pooling={pooling!r}{suggest(pooling, POOLINGS)}")
        self.pool = POOLINGS[pooling]
        self.cells, self.stride, self.num_classes = cells, stride, num_classes
        self.hardest = batch_size if ohem else None
        if ohem:
            self.sampler = SampleAll()

    def forward(self, maps: dict[str, Tensor], regions: list[Tensor]) -> tuple[Tensor, Tensor]:
        """See `RoIHeads.forward`; the coding is the same for each class."""
        with torch.autocast(regions[0].device.type, enabled=False):
            logits, deltas = (self._vote(maps[name].float(), regions) for name in (SCORES, BOXES))
        return logits, deltas[:, None].expand(-1, self.num_classes + 1, -1)

    def losses(self, logits: Tensor, deltas: Tensor, sample: Sample) -> dict[str, Tensor]:
        """See `RoIHeads.losses`; the mean over the hardest regions only, where these are wanted."""
        classifier, box = self.losses_of_each(logits, deltas, sample)
        if self.hardest is None:
            return mean_losses(classifier, box)
        chosen = hardest_of_each(classifier + box, [len(regions) for regions in sample.regions], self.hardest)
        return mean_losses(classifier[chosen], box[chosen])

    def _vote(self, maps: Tensor, regions: list[Tensor]) -> Tensor:
        """From maps [B, k k C, h, w] to [R, C]."""
        return self.pool(maps, regions, self.cells, 1 / self.stride).mean(dim=(2, 3))
