"""LeNet-5 (LeCun et al. 1998, section II.B) and the plainer form that is taught under its name today."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from visionkit.backbones.base import Stage, backbones
from visionkit.backbones.sequential import SequentialBackbone, named_sequential

# C1 and C3 are not padded: they take 4 cells of stride 1 and 4 of stride 2 off the image.
_STAGES = {"s1": Stage(6, 1, margin=4), "s2": Stage(16, 2, margin=12), "s4": Stage(16, 4, margin=12)}

_MNIST_MEAN = (0.1307, 0.1307, 0.1307)
_MNIST_STD = (0.3081, 0.3081, 0.3081)

C3_INPUTS = (
    *((first, (first + 1) % 6, (first + 2) % 6) for first in range(6)),
    *((first, (first + 1) % 6, (first + 2) % 6, (first + 3) % 6) for first in range(6)),
    *((first, (first + 1) % 6, (first + 3) % 6, (first + 4) % 6) for first in range(3)),
    (0, 1, 2, 3, 4, 5),
)
"""Table I: which maps of S2 each of the 16 maps of C3 sees; different ones, so that they learn different things."""


@backbones.register("lenet5")
class LeNet5(SequentialBackbone):
    """The network of 1998: trainable subsampling, a partly connected C3, scaled tanh; 60,000 weights with C5 and F6.

    Stages: s1 is C1, s2 is C3, s4 is S4. An image of 32 x 32, the paper's 28 x 28 digit with a border, gives S4
    5 x 5 cells; the smallest that passes is 16 x 16.

    Args:
        name: registered name.
        out_stages: see `Backbone`.
    """

    mean = _MNIST_MEAN
    std = _MNIST_STD
    default_head = "lenet5"
    native_size = 32

    def __init__(self, name: str, out_stages: Sequence[str] | None = None) -> None:
        parts = {
            "s1": named_sequential(gray=ToGray(), c1=initialize_lecun(nn.Conv2d(1, 6, 5)), squash1=ScaledTanh()),
            "s2": named_sequential(s2=Subsampling(6), c3=PartialConv(6, C3_INPUTS, 5), squash3=ScaledTanh()),
            "s4": named_sequential(s4=Subsampling(16)),
        }
        super().__init__(name, _STAGES, parts, out_stages)


@backbones.register("lenet5_modern")
class LeNet5Modern(SequentialBackbone):
    """Full C3, max pooling and ReLU; 61,706 weights with the head for 10 classes.

    Stages and sizes as those of `LeNet5`.

    Args:
        name: registered name.
        out_stages: see `Backbone`.
    """

    mean = _MNIST_MEAN
    std = _MNIST_STD
    default_head = "lenet5_modern"
    native_size = 32

    def __init__(self, name: str, out_stages: Sequence[str] | None = None) -> None:
        parts = {
            "s1": named_sequential(gray=ToGray(), c1=nn.Conv2d(1, 6, 5), relu1=nn.ReLU(inplace=True)),
            "s2": named_sequential(s2=nn.MaxPool2d(2), c3=nn.Conv2d(6, 16, 5), relu3=nn.ReLU(inplace=True)),
            "s4": named_sequential(s4=nn.MaxPool2d(2)),
        }
        super().__init__(name, _STAGES, parts, out_stages)


class ToGray(nn.Module):
    """[B, 3, H, W] to [B, 1, H, W], the mean of the channels.

    Every backbone of the toolkit takes three channels, LeNet's C1 has weights for one. A gray image was read as
    three equal channels, whose mean is the image again; a colored one (SVHN) becomes gray.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Average the channels."""
        return x.mean(dim=1, keepdim=True)


class ScaledTanh(nn.Module):
    """f(a) = 1.7159 tanh(2a / 3) (appendix A): f(1) = 1 and f(-1) = -1, the targets of the output codes."""

    def forward(self, x: Tensor) -> Tensor:
        """Squash."""
        return 1.7159 * torch.tanh(x * (2 / 3))


class Subsampling(nn.Module):
    """Sums 2 x 2 cells, multiplies and shifts by two trained numbers a channel, and squashes; starts as the mean.

    Args:
        channels: of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), 1 / 4))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.squash = ScaledTanh()

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C, H // 2, W // 2]."""
        sums = functional.avg_pool2d(x, 2, divisor_override=1)
        return self.squash(sums * self.weight[:, None, None] + self.bias[:, None, None])


class PartialConv(nn.Module):
    """A convolution whose output maps see some of the input maps.

    Args:
        channels: of the input.
        inputs: for each output map the input maps that it sees.
        size: of the kernel.
    """

    def __init__(self, channels: int, inputs: Sequence[Sequence[int]], size: int) -> None:
        super().__init__()
        self.shape = (len(inputs), channels, size, size)
        self.inputs = inputs
        self.maps = nn.ModuleList(initialize_lecun(nn.Conv2d(len(seen), 1, size)) for seen in inputs)

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, H, W] to [B, maps, H - size + 1, W - size + 1]; all maps in one convolution."""
        kernel = x.new_zeros(self.shape)
        for row, (seen, map_) in enumerate(zip(self.inputs, self.maps, strict=True)):
            kernel[row, list(seen)] = map_.get_parameter("weight")[0].to(kernel.dtype)
        return functional.conv2d(x, kernel, torch.cat([map_.get_parameter("bias") for map_ in self.maps]))


Layer = nn.Conv2d | nn.Linear


def initialize_lecun(layer: Layer) -> Layer:
    """Weights uniform in +-2.4 / fan_in (appendix A), biases 0."""
    bound = 2.4 / layer.weight[0].numel()
    nn.init.uniform_(layer.weight, -bound, bound)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
