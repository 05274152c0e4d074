"""Layers of YOLO's heads and the layout of their outputs."""

from torch import Tensor, nn


def conv_bn_leaky(in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1) -> nn.Sequential:
    """Return a convolution, BatchNorm and leaky ReLU, as in both YOLO papers (Redmon et al. 2015, equation 2)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.LeakyReLU(0.1, inplace=True),
    )


def prediction_layer(in_channels: int, out_channels: int) -> nn.Conv2d:
    """Return a 1 x 1 convolution with weights near 0, so that every box starts near its anchor."""
    layer = nn.Conv2d(in_channels, out_channels, 1)
    nn.init.normal_(layer.weight, std=0.01)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def split_boxes(output: Tensor, boxes: int) -> Tensor:
    """Return a map [B, boxes * n, h, w] as [B, h * w * boxes, n], row by row, cell by cell."""
    batch, channels, height, width = output.shape
    split = output.view(batch, boxes, channels // boxes, height, width)
    return split.permute(0, 3, 4, 1, 2).reshape(batch, height * width * boxes, channels // boxes)
