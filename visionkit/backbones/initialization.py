"""Weight initializations by name, for networks and layers without pretrained weights."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from visionkit.registry import Registry

Convolution = (nn.Conv2d, nn.ConvTranspose2d)

initializations: Registry[Callable[[nn.Module], None]] = Registry("initialization")
"""Each initializes the weights of one convolution, transposed convolution or linear layer, and sets its bias to 0."""


def initialize(network: nn.Module, name: str) -> None:
    """Initialize all convolutions, transposed convolutions and linear layers of `network`, in place.

    Args:
        network: its norms are not changed.
        name: "fan_in", "fan_in_uniform", "glorot", "glorot_normal", "he", "he_uniform", or "bilinear", which
            initializes transposed convolutions only.

    Raises:
        ConfigError: there is no such initialization.
    """
    initialize_layer = initializations.get(name)
    for layer in network.modules():
        if isinstance(layer, (*Convolution, nn.Linear)):
            initialize_layer(layer)


@initializations.register("fan_in")
def _fan_in(layer: nn.Module) -> None:
    """Normal with a deviation of 1 / sqrt(fan in) (LeCun et al. 1998, "Efficient BackProp", section 4.6)."""
    _initialize_layer(layer, lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="linear"))


@initializations.register("fan_in_uniform")
def _fan_in_uniform(layer: nn.Module) -> None:
    """Uniform in ±1 / sqrt(fan in) (Glorot & Bengio 2010, equation 1)."""
    _initialize_layer(layer, lambda weight: nn.init.kaiming_uniform_(weight, a=math.sqrt(5)))


@initializations.register("glorot")
def _glorot(layer: nn.Module) -> None:
    """Uniform in ±sqrt(6 / (fan in + fan out)) (Glorot & Bengio 2010, equation 16)."""
    _initialize_layer(layer, nn.init.xavier_uniform_)


@initializations.register("glorot_normal")
def _glorot_normal(layer: nn.Module) -> None:
    """Normal with a variance of 2 / (fan in + fan out) (Glorot & Bengio 2010, equation 12)."""
    _initialize_layer(layer, nn.init.xavier_normal_)


@initializations.register("he")
def _he(layer: nn.Module) -> None:
    """Normal with a variance of 2 / fan in (He et al. 2015, "Delving Deep into Rectifiers", equation 10)."""
    _initialize_layer(layer, lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"))


@initializations.register("he_uniform")
def _he_uniform(layer: nn.Module) -> None:
    """Uniform with a variance of 2 / fan in."""
    _initialize_layer(layer, lambda weight: nn.init.kaiming_uniform_(weight, nonlinearity="relu"))


@initializations.register("bilinear")
def _bilinear(layer: nn.Module) -> None:
    """Bilinear upsampling by transposed convolutions (Long et al. 2014, section 3.3); other layers are not changed."""
    if not isinstance(layer, nn.ConvTranspose2d):
        return
    rows, columns = (_triangle(size) for size in layer.kernel_size)
    kernel = rows[:, None] * columns
    with torch.no_grad():
        layer.weight.zero_()
        for channel in range(layer.in_channels):  # each input channel to the output channel of the same index
            group_size = layer.in_channels // layer.groups
            if channel % group_size < layer.weight.shape[1]:
                layer.weight[channel, channel % group_size] = kernel.to(layer.weight)
    _zero_bias(layer)


def _triangle(size: int) -> Tensor:
    """Return weights that fall linearly from the center; those that overlap at one pixel add up to 1."""
    factor = (size + 1) // 2
    middle = (size - 1) / 2 if size % 2 else factor - 0.5
    return 1 - (torch.arange(size, device="cpu") - middle).abs() / factor


def _initialize_layer(layer: nn.Module, initialize_weight: Callable[[Tensor], object]) -> None:
    weight = layer.get_parameter("weight")
    # A transposed convolution's weights are [in, out, ...]; the fans are computed from [out, in, ...].
    initialize_weight(weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else weight)
    _zero_bias(layer)


def _zero_bias(layer: nn.Module) -> None:
    if layer.bias is not None:
        nn.init.zeros_(layer.get_parameter("bias"))
