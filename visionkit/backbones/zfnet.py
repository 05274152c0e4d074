"""ZFNet (Zeiler & Fergus 2013, figure 3): AlexNet with a smaller first kernel and stride, without groups."""

from collections.abc import Sequence

from torch import nn

from visionkit.backbones.base import Stage, backbones
from visionkit.backbones.response_norm import ResponseNorm
from visionkit.backbones.sequential import SequentialBackbone, named_sequential

_STAGES = {
    "s2": Stage(96, 2, margin=3),
    "s4": Stage(96, 4, margin=3),
    "s8": Stage(256, 8, margin=15),
    "s16": Stage(256, 16, margin=15),
    "s32": Stage(256, 32, margin=15),
}


@backbones.register("zfnet")
class ZFNet(SequentialBackbone):
    """ZFNet. Stage s2 is conv1, s4 its pooled and normalized map, s8 conv2, s16 conv5, s32 its pooled map.

    The pools round up, which gives the figure's 110, 55, 26, 13 and 6 cells for 224 pixels. The smallest valid input
    is 47 x 47.

    Args:
        name: registered name.
        out_stages: see `Backbone`.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("zfnet", weights="none").eval()
        >>> with torch.no_grad():
        ...     maps = backbone(torch.zeros(1, 3, 224, 224))
        >>> {stage: map_.shape[-1] for stage, map_ in maps.items()}
        {'s2': 110, 's4': 55, 's8': 26, 's16': 13, 's32': 6}
    """

    default_head = "alexnet"

    def __init__(self, name: str, out_stages: Sequence[str] | None = None) -> None:
        parts = {
            "s2": named_sequential(conv1=nn.Conv2d(3, 96, 7, stride=2, padding=1), relu1=nn.ReLU(inplace=True)),
            "s4": named_sequential(pool1=nn.MaxPool2d(3, stride=2, ceil_mode=True), norm1=ResponseNorm()),
            "s8": named_sequential(conv2=nn.Conv2d(96, 256, 5, stride=2), relu2=nn.ReLU(inplace=True)),
            "s16": named_sequential(
                pool2=nn.MaxPool2d(3, stride=2, ceil_mode=True),
                norm2=ResponseNorm(),
                conv3=nn.Conv2d(256, 384, 3, padding=1),
                relu3=nn.ReLU(inplace=True),
                conv4=nn.Conv2d(384, 384, 3, padding=1),
                relu4=nn.ReLU(inplace=True),
                conv5=nn.Conv2d(384, 256, 3, padding=1),
                relu5=nn.ReLU(inplace=True),
            ),
            "s32": named_sequential(pool5=nn.MaxPool2d(3, stride=2, ceil_mode=True)),
        }
        _initialize(parts)
        super().__init__(name, _STAGES, parts, out_stages)


def _initialize(parts: dict[str, nn.Sequential]) -> None:
    """Initialize with weights of scale 0.01 and biases 0 (section 3.1); the paper names no distribution, so normal."""
    for layer in nn.ModuleList(parts.values()).modules():
        if isinstance(layer, nn.Conv2d) and layer.bias is not None:
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
