"""Position-sensitive score maps and RoI heads (Dai et al. 2016, section 2)."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import ps_roi_align

from visionkit.errors import ConfigError
from visionkit.models.detection.parts.roi_heads import RoIHeads, RoIOptions, RoISample, mean_losses
from visionkit.ops.balanced_sampler import BoxSample
from visionkit.ops.float32 import at_least_float32, full_precision
from visionkit.ops.nms import NMSOptions
from visionkit.ops.ohem import hardest_per_image
from visionkit.ops.position_sensitive_pool import position_sensitive_pool
from visionkit.ops.roi_align import SAMPLES
from visionkit.registry import suggest

PROPOSALS, SCORES, BOXES = "proposals", "scores", "boxes"
"""Names of the maps: input of the RPN, and the position-sensitive maps of classes and boxes."""


POOLINGS: dict[str, Callable[..., Tensor]] = {
    "average": position_sensitive_pool,
    "align": partial(ps_roi_align, sampling_ratio=SAMPLES),
}
"""Position-sensitive RoI pooling: the mean of all positions that a cell touches, or sampled points as in RoIAlign."""


class ScoreMaps(nn.Module):
    """Position-sensitive score maps: k x k maps for each class and each coordinate, over the whole image.

    Channel (c k + row) k + column is the score of class, or coordinate, c for the cell in that row and column of a
    region. The layers are initialized with a standard deviation of 0.01, as in the authors' code.

    Args:
        proposals_stage: stage whose map the RPN uses.
        stage: stage that the score maps are computed from.
        inputs: channels of that stage.
        channels: channels of the 1x1 convolution before the score maps (section 2: 1024).
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
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return `proposals`, `scores` [B, k k (K + 1), h, w] and `boxes` [B, k k 4, h, w] of the backbone's maps."""
        reduced = functional.relu(self.reduce(maps[self.stage]))
        return {
            PROPOSALS: maps[self.proposals_stage],
            SCORES: self.scores(reduced),
            BOXES: self.boxes(reduced),
        }


def sample_all(classes: Tensor) -> BoxSample:
    """Return a sample of all positives and all background; hard example mining selects among them later."""
    indices = torch.arange(classes.shape[1], device=classes.device).expand_as(classes)
    return BoxSample(indices, classes >= 0, classes.shape[1])


class PositionSensitiveRoIHeads(RoIHeads):
    """RoI heads without layers: the logits are the mean over a region's cells (section 2). All classes share a box.

    With hard example mining the RoI heads score all proposals, and those of an image with the highest sums of both
    losses train. Shrivastava et al. 2016 first drop regions that overlap a harder one by more than 0.7. Here the NMS of
    the RPN has this threshold already.

    Args:
        pooling: "average" or "align", see `POOLINGS`.
        cells: k.
        stride: stride of the score maps in pixels.
        num_classes: K.
        ohem: whether the `options.batch_size_per_image` regions with the highest losses train, or as many random ones.
        options: matching and sampling of proposals.
        nms: filter of overlapping detections.

    Raises:
        ConfigError: there is no such pooling.
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
        self.cells, self.stride, self.num_classes, self.ohem = cells, stride, num_classes, ohem
        if ohem:
            self.sampler = sample_all

    def score(self, maps: dict[str, Tensor], regions: Tensor | list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return logits and deltas, which are the same for each class; see `RoIHeads.score`."""
        with full_precision(maps[SCORES]):
            logits, deltas = (self._pooled_mean(at_least_float32(maps[name]), regions) for name in (SCORES, BOXES))
        return logits, deltas[:, None].expand(-1, self.num_classes + 1, -1)

    def losses(self, logits: Tensor, deltas: Tensor, sample: RoISample) -> dict[str, Tensor]:
        """Compute the losses, with `ohem` of the hardest regions only; see `RoIHeads.losses`."""
        classifier, box = self.losses_per_region(logits, deltas, sample)
        if not self.ohem:
            return mean_losses(classifier, box, sample.used)
        return mean_losses(
            classifier, box, hardest_per_image(classifier + box, sample.used, self.options.batch_size_per_image)
        )

    def _pooled_mean(self, maps: Tensor, regions: Tensor | list[Tensor]) -> Tensor:
        """Return [R, C] of maps [B, k k C, h, w]."""
        return self.pool(maps, regions, self.cells, 1 / self.stride).mean(dim=(2, 3))
