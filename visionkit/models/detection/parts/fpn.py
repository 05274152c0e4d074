"""What lies between backbone and heads: a feature pyramid, or one map as it is."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock, LastLevelMaxPool

from visionkit.backbones.base import Stage


class FPN(FeaturePyramidNetwork):
    """Feature pyramid (Lin et al. 2016, section 3).

    Args:
        stages: of the backbone, the levels shallow to deep.
        channels: of every level.
        behind: makes the levels behind the deepest; None is one, subsampled, for the RPN (its section 4.1).
    """

    def __init__(self, stages: Mapping[str, Stage], channels: int, behind: ExtraFPNBlock | None = None) -> None:
        super().__init__([stage.channels for stage in stages.values()], channels, behind or LastLevelMaxPool())
        self.level_names = list(stages)

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        """From maps [B, C, H/s, W/s] to levels [B, channels, H/s, W/s] and those behind."""
        levels: dict[str, Tensor] = super().forward({name: x[name] for name in self.level_names})
        return levels


class SelectedMaps(nn.Module):
    """The maps of some stages, unchanged.

    Args:
        names: of the stages.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = list(names)

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        """Keep the maps called `names`."""
        return {name: x[name] for name in self.names}
