"""Position-sensitive score maps and what is read from them (Dai et al. 2016, section 2)."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import ps_roi_align, ps_roi_pool

from visionkit.errors import ConfigError
from visionkit.models.detection.parts.roi_heads import RoIHeads, RoIOptions, RoISample, mean_losses
from visionkit.ops.hard_example_mining import hardest_of_each
from visionkit.ops.nms import NMSOptions
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


def sample_all(classes: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Return all positives and all negatives of the classes [N] of each image, for hard example mining."""
    return [of_image > 0 for of_image in classes], [of_image == 0 for of_image in classes]


class PositionSensitiveRoIHeads(RoIHeads):
    """RoI heads that average position-sensitive score maps; no layer follows (section 2). All classes share one box.

    With online hard example mining (OHEM) all proposals are scored, and those of an image with the highest losses are
    trained on. Shrivastava et al. 2016 first remove regions that overlap one with a higher loss by more than 0.7. The
    NMS of the RPN has already done so, and nothing more is removed here.

    Args:
        pooling: how the cells of a region are pooled, a name of `POOLINGS`.
        cells: k.
        stride: stride of the score maps in pixels.
        num_classes: K.
        ohem: whether the `batch_size` regions with the highest losses are trained on, or as many random ones.
        options: which proposals are trained on.
        nms: how overlapping detections are filtered.

    Raises:
        ConfigError: no such pooling.
    """

    def __init__(
        self,
        pooling: str,
        cells: int,
        stride: int,
        num_classes: int,
        ohem: bool,
        options: RoIOptions,
        nms: NMSOptions,
    ) -> None:
        super().__init__(options, nms, smooth_l1_beta=1.0)
        if pooling not in POOLINGS:
            raise ConfigError(f"pooling={pooling!r}{suggest(pooling, POOLINGS)}")
        self.pool = POOLINGS[pooling]
        self.cells, self.stride, self.num_classes = cells, stride, num_classes
        self.hardest = options.batch_size if ohem else None
        if ohem:
            self.sampler = sample_all

    def forward(self, maps: dict[str, Tensor], regions: list[Tensor]) -> tuple[Tensor, Tensor]:
        """See `RoIHeads.forward`; the deltas are the same for each class."""
        with torch.autocast(regions[0].device.type, enabled=False):
            logits, deltas = (self._vote(maps[name].float(), regions) for name in (SCORES, BOXES))
        return logits, deltas[:, None].expand(-1, self.num_classes + 1, -1)

    def losses(self, logits: Tensor, deltas: Tensor, sample: RoISample) -> dict[str, Tensor]:
        """See `RoIHeads.losses`; with OHEM the mean over the regions with the highest losses."""
        classifier, box = self.losses_of_each(logits, deltas, sample)
        if self.hardest is None:
            return mean_losses(classifier, box)
        chosen = hardest_of_each(classifier + box, [len(regions) for regions in sample.regions], self.hardest)
        return mean_losses(classifier[chosen], box[chosen])

    def _vote(self, maps: Tensor, regions: list[Tensor]) -> Tensor:
        """Return [R, C] from maps [B, k k C, h, w]."""
        return self.pool(maps, regions, self.cells, 1 / self.stride).mean(dim=(2, 3))
