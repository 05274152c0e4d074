"""Decoder that mirrors a VGG: unpooling for each pool and a layer for each convolution (SegNet, DeconvNet)."""

from collections.abc import Callable

from torch import Tensor, nn

from visionkit.backbones.base import Backbone
from visionkit.backbones.vgg import VGG
from visionkit.errors import ConfigError
from visionkit.ops.upsampling import max_unpooling


class MirroredDecoder(nn.Module):
    """Mirror image of a VGG: for each pool, deepest first, max unpooling and the mirrored convolutions before the pool.

    Args:
        backbone: the VGG; all its convolutions except the first, conv1_1, are mirrored.
        layer: builds one layer from its numbers of input and output channels.
        at_full_size: whether the convolutions before the first pool are mirrored.

    Attributes:
        channels: number of output channels, those of conv1_1.
    """

    def __init__(self, backbone: VGG, layer: Callable[[int, int], nn.Module], at_full_size: bool = True) -> None:
        super().__init__()
        self.channels = next(iter(backbone.computed.values())).channels
        stages: dict[str, list[nn.Module]] = {}
        for name, (module, *_) in reversed(list(backbone.layers_by_name().items())):
            conv = backbone.get_submodule(module)
            assert isinstance(conv, nn.Conv2d)
            number = name.removeprefix("conv").partition("_")[0]
            stage = stages.setdefault(number, [])
            if name != "conv1_1" and (at_full_size or number != "1"):
                stage.append(layer(conv.out_channels, conv.in_channels))
        self.stages = nn.ModuleList(nn.Sequential(*layers) for layers in stages.values())

    def forward(self, x: Tensor, indices: list[Tensor]) -> Tensor:
        """Compute the map at full size.

        Args:
            x: [B, C, h, w], with the size of the map after the last pool.
            indices: the indices of `VGG.forward_with_indices`, of maps with even height and width.

        Returns:
            [B, channels, 32 * h, 32 * w].
        """
        for stage, where in zip(self.stages, reversed(indices), strict=True):
            x = stage(max_unpooling(x, where, [2 * side for side in where.shape[-2:]]))
        return x


def check_full_vgg(backbone: Backbone, model: str) -> VGG:
    """Return `backbone` if it is a VGG with all its pools.

    Raises:
        ConfigError: it is another network, or stops before the last pool.
    """
    if not isinstance(backbone, VGG) or list(backbone.computed)[-1] != "s32":
        raise ConfigError(
            f"model={model} needs a VGG with all its pools, which {backbone.name} as built is not: use vgg16_bn"
        )
    return backbone
