"""Necks of detectors: a feature pyramid, or selected maps of the backbone."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock, LastLevelMaxPool

from visionkit.backbones.base import Stage


class FPN(FeaturePyramidNetwork):
    """Feature pyramid network (Lin et al. 2016, section 3).

    Args:
        stages: stages of the backbone, shallow to deep; each is a level.
        channels: channels of every level.
        extra_blocks: computes further levels from the deepest one. None adds one subsampled level for the RPN (section
            4.1).
    """

    def __init__(self, stages: Mapping[str, Stage], channels: int, extra_blocks: ExtraFPNBlock | None = None) -> None:
        super().__init__([stage.channels for stage in stages.values()], channels, extra_blocks or LastLevelMaxPool())
        self.level_names = list(stages)

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return levels [B, channels, H/s, W/s], and the extra levels, of maps [B, C, H/s, W/s]."""
        levels: dict[str, Tensor] = super().forward({name: x[name] for name in self.level_names})
        return levels


class SelectedMaps(nn.Module):
    """Maps of some stages, unchanged.

    Args:
        names: names of the stages.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = list(names)

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the maps of the selected stages."""
        return {name: x[name] for name in self.names}
