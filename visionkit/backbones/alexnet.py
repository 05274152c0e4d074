"""AlexNet (Krizhevsky et al. 2012)."""

from collections.abc import Sequence

from torch import nn

from visionkit.backbones.base import Stage, backbones
from visionkit.backbones.response_norm import ResponseNorm
from visionkit.backbones.sequential import SequentialBackbone, named_sequential

_STAGES = {
    "s4": Stage(96, 4, margin=7),
    "s8": Stage(256, 8, margin=11),
    "s16": Stage(256, 16, margin=19),
    "s32": Stage(256, 32, margin=35),
}


@backbones.register("alexnet")
class AlexNet(SequentialBackbone):
    """AlexNet. Stages s4, s8 and s16 are the maps before each pool (conv1 and conv2 normalized, conv5), s32 the last.

    The groups of conv2, conv4 and conv5 are the halves of the paper's two GPUs (figure 2). Neither conv1 nor the
    pools are padded: an input of 227 x 227 gives 6 x 6 cells, and the smallest valid input is 67 x 67. The paper's
    input size, 224, does not give its map of 55 x 55 after conv1.

    Args:
        name: registered name.
        out_stages: see `Backbone`.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("alexnet", weights="none").eval()
        >>> with torch.no_grad():
        ...     maps = backbone(torch.zeros(1, 3, 227, 227))
        >>> {stage: tuple(map_.shape) for stage, map_ in maps.items()}
        {'s4': (1, 96, 55, 55), 's8': (1, 256, 27, 27), 's16': (1, 256, 13, 13), 's32': (1, 256, 6, 6)}
    """

    default_head = "alexnet"
    native_size = 227

    def __init__(self, name: str, out_stages: Sequence[str] | None = None) -> None:
        parts = {
            "s4": named_sequential(
                conv1=nn.Conv2d(3, 96, 11, stride=4), relu1=nn.ReLU(inplace=True), norm1=ResponseNorm()
            ),
            "s8": named_sequential(
                pool1=nn.MaxPool2d(3, stride=2),
                conv2=nn.Conv2d(96, 256, 5, padding=2, groups=2),
                relu2=nn.ReLU(inplace=True),
                norm2=ResponseNorm(),
            ),
            "s16": named_sequential(
                pool2=nn.MaxPool2d(3, stride=2),
                conv3=nn.Conv2d(256, 384, 3, padding=1),
                relu3=nn.ReLU(inplace=True),
                conv4=nn.Conv2d(384, 384, 3, padding=1, groups=2),
                relu4=nn.ReLU(inplace=True),
                conv5=nn.Conv2d(384, 256, 3, padding=1, groups=2),
                relu5=nn.ReLU(inplace=True),
            ),
            "s32": named_sequential(pool5=nn.MaxPool2d(3, stride=2)),
        }
        _initialize(parts)
        super().__init__(name, _STAGES, parts, out_stages)


def _initialize(parts: dict[str, nn.Sequential]) -> None:
    """Initialize as section 5: weights normal with std 0.01, biases 1 in conv2, conv4 and conv5, else 0."""
    for part in parts.values():
        for name, layer in part.named_children():
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                nn.init.normal_(layer.weight, std=0.01)
                nn.init.constant_(layer.bias, float(name in ("conv2", "conv4", "conv5")))
