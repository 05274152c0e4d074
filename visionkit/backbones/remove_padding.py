"""Remove the padding of a backbone, so that each cell of its map depends on a window of pixels alone."""

import copy
from bisect import bisect_left
from collections.abc import Callable

import torch
from torch import Tensor, nn

from visionkit.backbones.base import Backbone
from visionkit.errors import ConfigError

MAX_WINDOW = 2048
"""Largest side in pixels of a cell's window."""

TOLERANCE = 1e-3
"""Relative to the greatest value: cells that differ by more depend on pixels outside their window."""

Pool = nn.MaxPool2d | nn.AvgPool2d


def remove_padding(backbone: Backbone) -> int:
    """Remove the padding of a backbone in place, so that its deepest map is the same for windows and for the image.

    A padded network computes something else for a window than for the whole image: it adds zeros at the borders of
    the window, where the image has pixels. The weights do not change.

    Args:
        backbone: a chain of convolutions and pools.

    Returns:
        Side in pixels of the square window that one cell of the deepest map sees. The window of the next cell is one
        stride further.

    Raises:
        ConfigError: the network does not work without padding, or a cell depends on more than its window.
    """
    for layer in backbone.modules():
        if isinstance(layer, nn.Conv2d):
            layer.padding = (0, 0)
        if isinstance(layer, Pool):
            layer.padding, layer.ceil_mode = 0, False  # a pool that rounds up pads, too
    mode = backbone.training
    backbone.eval()
    side = _cell_window(backbone)
    *_, deepest = backbone.stages.values()
    like = next(backbone.parameters())
    if side == MAX_WINDOW or not _window_gives_same_cell(_deepest_map_of(backbone), side, deepest.stride, like):
        raise ConfigError(
            f"{backbone.name} cannot be run over windows: it does not work without padding, or a cell of its map "
            "depends on more than a window of the image\n"
            "Use a network without skip connections, such as vgg11, alexnet, zfnet or patch_cnn_65"
        )
    backbone.train(mode)
    return side


def _cell_window(backbone: Backbone) -> int:
    """Return the least side of a square image that gives a map, at most `MAX_WINDOW`; computed from shapes alone."""
    shapes_only = _deepest_map_of(copy.deepcopy(backbone).to("meta"))

    def cells(side: int) -> int:
        try:
            return shapes_only(torch.empty(1, 3, side, side, device="meta")).shape[-1]
        except RuntimeError:  # the image is too small
            return 0

    return bisect_left(range(MAX_WINDOW), 1, key=cells)


def _window_gives_same_cell(deepest: Callable[[Tensor], Tensor], side: int, stride: int, like: Tensor) -> bool:
    """Return whether the last of 2 x 2 cells equals the map of the last window alone."""
    noise = torch.randn(1, 3, side + stride, side + stride, generator=torch.Generator().manual_seed(0)).to(like)
    try:
        with torch.no_grad():
            whole, alone = deepest(noise), deepest(noise[..., stride:, stride:])
    except RuntimeError:  # maps that are added do not have the same size without padding
        return False
    if whole.shape[-2:] != (2, 2) or alone.shape[-2:] != (1, 1):
        return False
    return bool((whole[..., 1:, 1:] - alone).abs().max() <= TOLERANCE * alone.abs().max())


def _deepest_map_of(backbone: Backbone) -> Callable[[Tensor], Tensor]:
    return lambda x: list(backbone(x).values())[-1]
