"""A VGG in reverse: unpooling where the encoder pooled, convolutions where it convolved (SegNet, DeconvNet)."""

from collections.abc import Callable

from torch import Tensor, nn

from visionkit.backbones.base import Backbone
from visionkit.backbones.vgg import VGG
from visionkit.errors import ConfigError
from visionkit.ops.upsampling import max_unpooling


class MirroredDecoder(nn.Module):
    """For each pool of a VGG, deepest first, max unpooling with its indices and the mirrored convolutions before it.

    Args:
        backbone: whose layers are mirrored, all but the first, conv1_1.
        layer: builds one layer from its channels in and out.
        at_full_size: whether convolutions are mirrored that have no pool before them.

    Attributes:
        channels: of the map that comes out, those of conv1_1.
    """

    def __init__(self, backbone: VGG, layer: Callable[[int, int], nn.Module], at_full_size: bool = True) -> None:
        super().__init__()
        self.channels = next(iter(backbone.computed.values())).channels
        stages: dict[str, list[nn.Module]] = {}
        for place, (name, *_) in reversed(list(backbone.layers_by_name().items())):
            conv = backbone.get_submodule(name)
            assert isinstance(conv, nn.Conv2d)
            number = place.removeprefix("conv").partition("_")[0]
            stage = stages.setdefault(number, [])
            if place != "conv1_1" and (at_full_size or number != "1"):
                stage.append(layer(conv.out_channels, conv.in_channels))
        self.stages = nn.ModuleList(nn.Sequential(*layers) for layers in stages.values())

    def forward(self, x: Tensor, indices: list[Tensor]) -> Tensor:
        """Go back up.

        Args:
            x: [B, C, h, w], of the size of the map after the last pool.
            indices: of `VGG.forward_with_indices`; every pool has halved a map of even sides.

        Returns:
            [B, channels, 32 * h, 32 * w].
        """
        for stage, where in zip(self.stages, reversed(indices), strict=True):
            x = stage(max_unpooling(x, where, [2 * side for side in where.shape[-2:]]))
        return x


def check_full_vgg(backbone: Backbone, model: str) -> VGG:
    """The backbone as what it must be: a VGG with all its pools.

    Raises:
        ConfigError: it is another network, or stops before the last pool.
    """
    if not isinstance(backbone, VGG) or list(backbone.computed)[-1] != "s32":
        raise ConfigError(
            f"model {model} mirrors a VGG with all its pools, and {backbone.name} as it is built is none: use vgg16_bn"
        )
    return backbone
