"""Backbones without padding: what a cell of the map says depends on a window of pixels, and on nothing around it."""

import copy
from bisect import bisect_left
from collections.abc import Callable

import torch
from torch import Tensor, nn

from visionkit.backbones.base import Backbone
from visionkit.errors import ConfigError

LARGEST = 2048
"""Side in pixels up to which a cell's window is looked for."""

TOLERANCE = 1e-3
"""Of the greatest value: cells that differ by more were told by something else than their window."""

Pool = nn.MaxPool2d | nn.AvgPool2d


def remove_padding(backbone: Backbone) -> int:
    """Take the padding out of a backbone, in place, so that its deepest map can be had in whole or window by window.

    Zeros that convolutions add at the border stand inside the image when it is cut into windows, where the whole
    image has pixels there: a padded network says something else of a window by itself. Weights stay as they are.

    Args:
        backbone: a plain chain of convolutions and pools; values do not matter.

    Returns:
        Side in pixels of the square that one cell of the deepest map sees. Its neighbor sees the square one stride on.

    Raises:
        ConfigError: the network does not work without padding, or its cells see more than a window.
    """
    for layer in backbone.modules():
        if isinstance(layer, nn.Conv2d):
            layer.padding = (0, 0)
        if isinstance(layer, Pool):
            layer.padding, layer.ceil_mode = 0, False  # a rounded up pool reads beyond the border as well
    mode = backbone.training
    backbone.eval()
    side = _window_of_a_cell(backbone)
    *_, deepest = backbone.stages.values()
    like = next(backbone.parameters())
    if side == LARGEST or not _says_the_same_of_a_window(_deepest_of(backbone), side, deepest.stride, like):
        raise ConfigError(
            f"{backbone.name} cannot be run over windows: without padding it does not work, or a cell of its map "
            "sees more than a window of the image\n"
            "use a network without skip connections, such as vgg11, alexnet, zfnet or patch_cnn_65"
        )
    backbone.train(mode)
    return side


def _window_of_a_cell(backbone: Backbone) -> int:
    """The least side of a square image of which any map is left, or `LARGEST`; computed from shapes alone."""
    shapes_only = _deepest_of(copy.deepcopy(backbone).to("meta"))

    def cells(side: int) -> int:
        try:
            return shapes_only(torch.empty(1, 3, side, side, device="meta")).shape[-1]
        except RuntimeError:  # nothing is left of so small an image
            return 0

    return bisect_left(range(LARGEST), 1, key=cells)


def _says_the_same_of_a_window(deepest: Callable[[Tensor], Tensor], side: int, stride: int, like: Tensor) -> bool:
    """Whether the last of two by two cells is what the network says of the last window alone."""
    noise = torch.randn(1, 3, side + stride, side + stride, generator=torch.Generator().manual_seed(0)).to(like)
    try:
        with torch.no_grad():
            whole, alone = deepest(noise), deepest(noise[..., stride:, stride:])
    except RuntimeError:  # maps that do not fit each other any more
        return False
    if whole.shape[-2:] != (2, 2) or alone.shape[-2:] != (1, 1):
        return False
    return bool((whole[..., 1:, 1:] - alone).abs().max() <= TOLERANCE * alone.abs().max())


def _deepest_of(backbone: Backbone) -> Callable[[Tensor], Tensor]:
    return lambda x: list(backbone(x).values())[-1]
