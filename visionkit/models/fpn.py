"""Feature pyramid network (Lin et al. 2016), which several heads on one backbone can share."""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock, LastLevelMaxPool

from visionkit.backbones.base import Backbone, Stage
from visionkit.backbones.shared import SharedPass
from visionkit.errors import ConfigError


class FPN(FeaturePyramidNetwork):
    """Feature pyramid network (Lin et al. 2016, section 3).

    Args:
        stages: stages of the backbone, shallow to deep; each is a level.
        channels: channels of every level.
        extra_blocks: computes further levels from the deepest one. None adds one subsampled level for the RPN (section
            4.1).

    Attributes:
        stages: see `Args`.
        channels: see `Args`.
    """

    inner_blocks: nn.ModuleList
    layer_blocks: nn.ModuleList

    def __init__(self, stages: Mapping[str, Stage], channels: int, extra_blocks: ExtraFPNBlock | None = None) -> None:
        super().__init__([stage.channels for stage in stages.values()], channels, extra_blocks or LastLevelMaxPool())
        self.stages, self.channels = dict(stages), channels
        self._shared_pass: SharedPass | None = None

    def share(self, other: "FPN", shared_pass: SharedPass) -> None:
        """Take the layers of another pyramid, whose deepest levels are those of this one.

        A level depends on deeper ones only, so the levels have the same values in both pyramids. The extra blocks stay
        those of each pyramid.

        Args:
            other: the pyramid that keeps its layers.
            shared_pass: inside its `once()`, a level is computed once for both.
        """
        count = len(self.stages)
        self.inner_blocks = nn.ModuleList(list(other.inner_blocks)[-count:])
        self.layer_blocks = nn.ModuleList(list(other.layer_blocks)[-count:])
        self._shared_pass = other._shared_pass = shared_pass

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return levels [B, channels, H/s, W/s], and the extra levels, of maps [B, C, H/s, W/s]."""
        names = list(self.stages)
        levels: dict[str, Tensor] = {}
        merged = None
        for index, name in reversed(list(enumerate(names))):
            merged, levels[name] = self._level(index, x[name], merged)
        maps = [x[name] for name in names]
        outputs, names = self.extra_blocks([levels[name] for name in names], maps, names)
        return dict(zip(names, outputs, strict=True))

    def _level(self, index: int, map_: Tensor, deeper: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the merged map and the level of a stage, from its map and the merged map of the next stage."""
        layer = self.layer_blocks[index]

        def compute() -> tuple[Tensor, Tensor]:
            merged = self.inner_blocks[index](map_)
            if deeper is not None:
                merged = merged + functional.interpolate(deeper, size=merged.shape[-2:], mode="nearest")
            return merged, layer(merged)

        return compute() if self._shared_pass is None else self._shared_pass.computed_once(layer, map_, compute)


def share_pyramids(pyramids: Mapping[str, FPN], shared_pass: SharedPass) -> None:
    """Give the pyramids of several heads common layers: those of the one with the most levels, or else of the first.

    Args:
        pyramids: the pyramid of each head that has one.
        shared_pass: inside its `once()`, a level is computed once for all heads.

    Raises:
        ConfigError: fewer than two heads have a pyramid, or the pyramids differ in their channels or deepest stage.
    """
    kinds = {head: f"{fpn.channels} channels, {' '.join(fpn.stages)}" for head, fpn in pyramids.items()}
    if len(pyramids) < 2 or len({(fpn.channels, list(fpn.stages)[-1]) for fpn in pyramids.values()}) > 1:
        raise ConfigError(
            f"share_pyramid: the heads have {kinds or 'no feature pyramids'}\n"
            "two heads or more (faster_rcnn, mask_rcnn, retinanet, semantic_fpn) need one, with equal fpn_channels\n"
            "and the same deepest stage; leave share_pyramid out to give each a pyramid of its own"
        )
    largest = max(pyramids.values(), key=lambda fpn: len(fpn.stages))
    for fpn in pyramids.values():
        fpn.share(largest, shared_pass)


def pyramid_stages(backbone: Backbone, user: str, finest: int = 4) -> dict[str, Stage]:
    """Return the stages of a backbone from stride `finest` to 32, shallow to deep.

    Args:
        backbone: source of the feature maps.
        user: what needs the stages, for the message.
        finest: smallest stride.

    Raises:
        ConfigError: the backbone has no such stage.
    """
    stages = {name: stage for name, stage in backbone.stages.items() if finest <= stage.stride <= 32}
    if not stages:
        raise ConfigError(
            f"{user} needs stages of stride {finest} to 32; {backbone.name} has {', '.join(backbone.stages)}\n"
            "set model.backbone.out_stages, such as [s8, s16, s32]"
        )
    return stages
