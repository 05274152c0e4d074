"""LeNet-5 (LeCun et al. 1998, section II.B) and the simpler form that is called LeNet-5 today."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from visionkit.backbones.base import Stage, backbones
from visionkit.backbones.sequential import SequentialBackbone, named_sequential

# C1 and C3 are not padded: they cut off 4 cells of stride 1 and 4 cells of stride 2.
_STAGES = {"s1": Stage(6, 1, margin=4), "s2": Stage(16, 2, margin=12), "s4": Stage(16, 4, margin=12)}

_MNIST_MEAN = (0.1307, 0.1307, 0.1307)
_MNIST_STD = (0.3081, 0.3081, 0.3081)

C3_INPUTS = (
    *((first, (first + 1) % 6, (first + 2) % 6) for first in range(6)),
    *((first, (first + 1) % 6, (first + 2) % 6, (first + 3) % 6) for first in range(6)),
    *((first, (first + 1) % 6, (first + 3) % 6, (first + 4) % 6) for first in range(3)),
    (0, 1, 2, 3, 4, 5),
)
"""Maps of S2 that each of the 16 maps of C3 reads (table I)."""


@backbones.register("lenet5")
class LeNet5(SequentialBackbone):
    """LeNet-5 of 1998: trainable subsampling, a partly connected C3, scaled tanh.

    Stage s1 is C1, s2 is C3, s4 is S4. An input of 32 x 32, the paper's 28 x 28 digit with a border, gives 5 x 5 cells
    in S4; the smallest valid input is 16 x 16. With C5 and F6 it has 60,000 parameters.

    Args:
        name: registered name.
        out_stages: see `Backbone`.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("lenet5", weights="none").eval()
        >>> with torch.no_grad():
        ...     maps = backbone(torch.zeros(1, 3, 32, 32))
        >>> {stage: tuple(map_.shape) for stage, map_ in maps.items()}
        {'s1': (1, 6, 28, 28), 's2': (1, 16, 10, 10), 's4': (1, 16, 5, 5)}
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
    """LeNet-5 with a full C3, max pooling and ReLU; 61,706 parameters with the head for 10 classes.

    Stages and sizes are those of `LeNet5`.

    Args:
        name: registered name.
        out_stages: see `Backbone`.

    Example:
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("lenet5_modern", weights="none")
        >>> model = vk.Classifier(backbone, num_classes=10)
        >>> sum(parameter.numel() for parameter in model.parameters())
        61706
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
    """Mean over the channels: every backbone takes three, and C1 has weights for one."""

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, 1, H, W] of [B, 3, H, W]."""
        return x.mean(dim=1, keepdim=True)


class ScaledTanh(nn.Module):
    """Scaled tanh, f(a) = 1.7159 tanh(2a / 3), with f(1) = 1 and f(-1) = -1 (appendix A)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return f(x)."""
        return 1.7159 * torch.tanh(x * (2 / 3))


class Subsampling(nn.Module):
    """Trainable subsampling: the sum of 2 x 2 cells times a weight, plus a bias, and a scaled tanh.

    Each channel has its own weight and bias; they are initialized so that the sum becomes the mean.

    Args:
        channels: number of input and output channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), 1 / 4))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.squash = ScaledTanh()

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, C, H // 2, W // 2] of [B, C, H, W]."""
        sums = functional.avg_pool2d(x, 2, divisor_override=1)
        return self.squash(sums * self.weight[:, None, None] + self.bias[:, None, None])


class PartialConv(nn.Module):
    """Convolution whose output maps read only some of the input maps.

    Args:
        channels: number of input channels.
        inputs: indices of the input maps that each output map reads.
        size: height and width of the kernel.
    """

    def __init__(self, channels: int, inputs: Sequence[Sequence[int]], size: int) -> None:
        super().__init__()
        self.shape = (len(inputs), channels, size, size)
        self.inputs = inputs
        self.maps = nn.ModuleList(initialize_lecun(nn.Conv2d(len(sources), 1, size)) for sources in inputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, maps, H - size + 1, W - size + 1] of [B, channels, H, W], computed as one full convolution."""
        kernel = x.new_zeros(self.shape)
        for row, (sources, map_) in enumerate(zip(self.inputs, self.maps, strict=True)):
            kernel[row, list(sources)] = map_.get_parameter("weight")[0].to(kernel.dtype)
        return functional.conv2d(x, kernel, torch.cat([map_.get_parameter("bias") for map_ in self.maps]))


Layer = nn.Conv2d | nn.Linear


def initialize_lecun(layer: Layer) -> Layer:
    """Initialize a layer in place: weights uniform in ±2.4 / fan_in (appendix A), biases 0. Return the layer."""
    bound = 2.4 / layer.weight[0].numel()
    nn.init.uniform_(layer.weight, -bound, bound)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
