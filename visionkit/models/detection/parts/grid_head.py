"""Layers of YOLO's heads, and the order of what they say."""

from torch import Tensor, nn

from visionkit.errors import ConfigError


def convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, BatchNorm and the leaky ReLU of both papers (equation 2 of the first)."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(0.1, inplace=True),
    )


def predictor(inputs: int, outputs: int) -> nn.Conv2d:
    """The last layer: 1 x 1, starting so near 0 that every box starts as its anchor."""
    layer = nn.Conv2d(inputs, outputs, 1)
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def by_boxes(said: Tensor, boxes: int) -> Tensor:
    """From a map [B, boxes * n, h, w] to [B, h * w * boxes, n], row by row, cell by cell."""
    batch, channels, height, width = said.shape
    split = said.view(batch, boxes, channels // boxes, height, width)
    return split.permute(0, 3, 4, 1, 2).reshape(batch, height * width * boxes, channels // boxes)


def check_weights(**weights: float) -> None:
    """Refuse weights of losses below 0.

    Raises:
        ConfigError: names the first.
    """
    for name, value in weights.items():
        if value < 0:
            raise ConfigError(f"{name}={value}: the weight of a loss cannot be below 0")
