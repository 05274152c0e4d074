"""Starting values by name, for networks and layers that no file fills."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from visionkit.registry import Registry

Convolution = (nn.Conv2d, nn.ConvTranspose2d)

initializations: Registry[Callable[[nn.Module], None]] = Registry("initialization")
"""Each sets the weights of one convolution, transposed convolution or linear layer; biases are 0 then."""


def initialize(network: nn.Module, name: str) -> None:
    """Give all convolutions, transposed convolutions and linear layers of `network` new random values.

    Args:
        network: changed in place; norms keep their values.
        name: fan_in, glorot, he, each normal or uniform, or bilinear, which sets transposed convolutions alone.

    Raises:
        ConfigError: there is no such initialization.
    """
    start = initializations.get(name)
    for layer in network.modules():
        if isinstance(layer, (*Convolution, nn.Linear)):
            start(layer)


@initializations.register("fan_in")
def _fan_in(layer: nn.Module) -> None:
    """Normal with a deviation of 1 / sqrt(fan in) (LeCun et al. 1998, "Efficient BackProp", section 4.6)."""
    _fill(layer, lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="linear"))


@initializations.register("fan_in_uniform")
def _fan_in_uniform(layer: nn.Module) -> None:
    """Uniform in +-1 / sqrt(fan in) (Glorot & Bengio 2010, equation 1)."""
    _fill(layer, lambda weight: nn.init.kaiming_uniform_(weight, a=math.sqrt(5)))


@initializations.register("glorot")
def _glorot(layer: nn.Module) -> None:
    """Uniform in +-sqrt(6 / (fan in + fan out)) (Glorot & Bengio 2010, equation 16)."""
    _fill(layer, nn.init.xavier_uniform_)


@initializations.register("glorot_normal")
def _glorot_normal(layer: nn.Module) -> None:
    """Normal with a variance of 2 / (fan in + fan out) (Glorot & Bengio 2010, equation 12)."""
    _fill(layer, nn.init.xavier_normal_)


@initializations.register("he")
def _he(layer: nn.Module) -> None:
    """Normal with a variance of 2 / fan in (He et al. 2015, "Delving Deep into Rectifiers", equation 10)."""
    _fill(layer, lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"))


@initializations.register("he_uniform")
def _he_uniform(layer: nn.Module) -> None:
    """Uniform with a variance of 2 / fan in."""
    _fill(layer, lambda weight: nn.init.kaiming_uniform_(weight, nonlinearity="relu"))


@initializations.register("bilinear")
def _bilinear(layer: nn.Module) -> None:
    """Transposed convolutions enlarge each map bilinearly (Long et al. 2014, section 3.3); other layers stay."""
    if not isinstance(layer, nn.ConvTranspose2d):
        return
    rows, columns = (_triangle(size) for size in layer.kernel_size)
    kernel = rows[:, None] * columns
    with torch.no_grad():
        layer.weight.zero_()
        for channel in range(layer.in_channels):  # each input map to the output map of the same number
            group_size = layer.in_channels // layer.groups
            if channel % group_size < layer.weight.shape[1]:
                layer.weight[channel, channel % group_size] = kernel.to(layer.weight)
    _zero_bias(layer)


def _triangle(size: int) -> Tensor:
    """Weights that fall off linearly from the middle, so that those which meet at one pixel add up to 1."""
    factor = (size + 1) // 2
    middle = (size - 1) / 2 if size % 2 else factor - 0.5
    return 1 - (torch.arange(size, device="cpu") - middle).abs() / factor


def _fill(layer: nn.Module, start: Callable[[Tensor], object]) -> None:
    weight = layer.get_parameter("weight")
    # A transposed convolution's weights stand [in, out, ...]; the fans are counted on [out, in, ...].
    start(weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else weight)
    _zero_bias(layer)


def _zero_bias(layer: nn.Module) -> None:
    if layer.bias is not None:
        nn.init.zeros_(layer.get_parameter("bias"))
