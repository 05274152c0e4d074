"""Layers of a dense block on a shared buffer, without concatenations and with batch statistics once per channel."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_PIXELS = (0, 2, 3)
"""Dimensions of a feature map over which the statistics of a channel are computed."""


class DenseLayer(NamedTuple):
    """Parameters of one layer: BatchNorm, ReLU and 3x3 convolution, with c_i input channels and k output channels.

    Attributes:
        gain: [c_i], weight of the norm.
        shift: [c_i], bias of the norm.
        weight: [k, c_i, 3, 3], weight of the convolution.
        bias: [k], bias of the convolution.
        mean: [c_i], running mean of the norm; None normalizes with the mean of the batch, as in training.
        variance: [c_i], running variance, or None. All layers must have running statistics, or none.
    """

    gain: Tensor
    shift: Tensor
    weight: Tensor
    bias: Tensor
    mean: Tensor | None
    variance: Tensor | None


class DenseOptions(NamedTuple):
    """Options of the layers.

    Attributes:
        eps: epsilon of the norms.
        dropout: share of the output values of each layer that are dropped.
        keep: whether the input of each convolution is kept in memory for the backward pass, which otherwise recomputes
            it.
    """

    eps: float
    dropout: float
    keep: bool


class DenseResult(NamedTuple):
    """Result of a block.

    Attributes:
        maps: [B, C, H, W], the input, then the output of each layer.
        mean: [C], mean of the batch; zeros with running statistics.
        variance: [C], biased variance of the batch; zeros with running statistics.
    """

    maps: Tensor
    mean: Tensor
    variance: Tensor


def dense_layers(x: Tensor, layers: Sequence[DenseLayer], options: DenseOptions) -> DenseResult:
    """Run layers whose input is all feature maps before them (Huang et al. 2016, equation 2).

    The loop `x = cat([x, conv(relu(norm(x)))])` copies all maps for every layer, reads them twice more for their
    statistics, and keeps two copies for the backward pass. Here all layers write into one buffer. The mean and
    variance of a channel are the same for all layers that read it. So they are computed once, and their part of the
    gradient is added once. The function is not twice differentiable.

    Args:
        x: [B, c_0, H, W].
        layers: layers in order; the input of each is the c_0 channels and the outputs of the layers before it.
        options: see `DenseOptions`.
    """
    options = options._replace(keep=options.keep and torch.is_grad_enabled())
    kind = x.device.type
    if not (torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)):
        return _run(x, layers, options)
    dtype = torch.get_autocast_dtype(kind)
    layers = [layer._replace(weight=layer.weight.to(dtype), bias=layer.bias.to(dtype)) for layer in layers]
    with torch.autocast(kind, enabled=False):
        return _run(x.to(dtype), layers, options)


def _run(x: Tensor, layers: Sequence[DenseLayer], options: DenseOptions) -> DenseResult:
    return DenseResult(*_DenseLayers.apply(options, x, *(tensor for layer in layers for tensor in layer)))


class _DenseLayers(torch.autograd.Function):
    """Forward and backward pass of `dense_layers`."""

    @staticmethod
    def forward(ctx: Any, options: DenseOptions, x: Tensor, *tensors: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        layers = _unflatten(tensors)
        maps = _buffer(x, layers)
        exact = torch.promote_types(x.dtype, torch.float32)
        mean, variance = (torch.zeros(maps.shape[1], dtype=exact, device=x.device) for _ in range(2))
        end, norms, read, masks = x.shape[1], [], [], []
        added = x
        for layer in layers:
            if layer.mean is None:
                start = end - added.shape[1]
                mean[start:end], variance[start:end] = _moments(added.to(exact))
            norms.append(_norm_of(layer, mean, variance, options.eps))
            activated = _activated(maps, norms[-1])
            added = torch.conv2d(activated, layer.weight, layer.bias, padding=1)
            if options.dropout:
                masks.append(_dropout_mask(added, options.dropout))
                added = added * masks[-1]
            start, end = end, end + added.shape[1]
            maps[:, start:end] = added
            if options.keep:
                read.append(activated)
        ctx.options, ctx.norms, ctx.masks, ctx.read = options, norms, masks, read
        ctx.save_for_backward(maps, mean, variance, *tensors)
        ctx.mark_non_differentiable(mean, variance)
        return maps, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slopes: Tensor, *_: Tensor) -> tuple[Any, ...]:
        maps, mean, variance, *tensors = ctx.saved_tensors
        layers = _unflatten(tensors)
        slopes = slopes.clone(memory_format=_memory_format(maps))
        through_mean, through_variance = torch.zeros_like(mean), torch.zeros_like(mean)

        def settled(start: int, end: int) -> Tensor:
            """Return the complete gradient of a range of channels, after the backward of all layers that read it."""
            if layers[0].mean is not None:
                return slopes[:, start:end]
            inverse = (variance[start:end] + ctx.options.eps).rsqrt()
            slope = -inverse.square() * through_variance[start:end] / pixels
            level = -inverse * through_mean[start:end] / pixels - mean[start:end] * slope
            return slopes[:, start:end] + (maps[:, start:end] * _column(slope) + _column(level)).to(slopes.dtype)

        answers: list[Tensor | None] = []
        end, pixels = maps.shape[1], maps.numel() // maps.shape[1]
        for number in reversed(range(len(layers))):
            layer = layers[number]
            start = end - layer.weight.shape[0]
            norm = ctx.norms[number]
            activated = ctx.read[number] if ctx.read else _activated(maps, norm)
            added = settled(start, end)
            if ctx.masks:
                added = added * ctx.masks[number]
            below, weight, bias = _convolution_backward(added, activated, layer.weight)
            torch.ops.aten.threshold_backward.grad_input(below, activated, 0, grad_input=below)
            slopes[:, :start].addcmul_(below, _column(norm.scale).to(below.dtype))
            gain, shift = _norm_backward(below, maps[:, :start], norm)
            through_mean[:start] += layer.gain * shift
            through_variance[:start] += layer.gain * gain
            answers = [gain.to(layer.gain), shift.to(layer.shift), weight, bias, None, None, *answers]
            end = start
        return None, settled(0, end), *answers


class _Norm(NamedTuple):
    """BatchNorm of one layer as an affine function: scale * x + offset."""

    mean: Tensor
    inverse_deviation: Tensor
    scale: Tensor
    offset: Tensor


def _norm_of(layer: DenseLayer, mean: Tensor, variance: Tensor, eps: float) -> _Norm:
    channels = len(layer.gain)
    if layer.mean is not None and layer.variance is not None:
        mean, variance = layer.mean, layer.variance
    mean, inverse_deviation = mean[:channels], (variance[:channels] + eps).rsqrt()
    scale = layer.gain * inverse_deviation
    return _Norm(mean, inverse_deviation, scale, layer.shift - mean * scale)


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and variance of each channel.

    They are computed in two passes, because `torch.var_mean` takes 14 times as long on a CPU.
    """
    mean = x.mean(_PIXELS)
    return mean, (x - _column(mean)).square_().mean(_PIXELS)


def _dropout_mask(x: Tensor, share: float) -> Tensor:
    """Return the dropout mask: 0 for dropped values, 1 / (1 - share) for the others.

    Uniform random numbers take half the time of Bernoulli ones.
    """
    numbers = torch.rand_like(x, dtype=torch.promote_types(x.dtype, torch.float32))
    return numbers.ge_(share).div_(1 - share).to(x.dtype)


def _activated(maps: Tensor, norm: _Norm) -> Tensor:
    """Return the input of a convolution, [B, c_i, H, W], dense in memory.

    It is computed at least in float32, as in BatchNorm.
    """
    read = maps[:, : len(norm.scale)]
    scale, offset = _column(norm.scale), _column(norm.offset)
    if _memory_format(maps) is torch.channels_last:
        return torch.addcmul(offset, read, scale).relu_().to(maps.dtype)
    return torch.mul(read, scale).add_(offset).relu_().to(maps.dtype)  # addcmul is slower on a CPU in this layout


def _norm_backward(slopes: Tensor, maps: Tensor, norm: _Norm) -> tuple[Tensor, Tensor]:
    """Return the gradients [c_i] of gain and shift from `slopes`, the gradient of the norm's output (overwritten)."""
    shift = slopes.sum(_PIXELS, dtype=norm.mean.dtype)
    gain = slopes.mul_(maps).sum(_PIXELS, dtype=norm.mean.dtype) - norm.mean * shift
    return gain * norm.inverse_deviation, shift


def _convolution_backward(slopes: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of input, weight and bias of a 3x3 convolution with one pixel of padding."""
    pair = [1, 1]
    return torch.ops.aten.convolution_backward.default(
        slopes, x, weight, [weight.shape[0]], pair, pair, pair, False, [0, 0], 1, [True, True, True]
    )


def _column(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1)


def _buffer(x: Tensor, layers: Sequence[DenseLayer]) -> Tensor:
    """Return a buffer for all feature maps, with `x` in its first channels."""
    channels = x.shape[1] + sum(layer.weight.shape[0] for layer in layers)
    maps = torch.empty(
        (x.shape[0], channels, *x.shape[2:]), dtype=x.dtype, device=x.device, memory_format=_memory_format(x)
    )
    maps[:, : x.shape[1]] = x
    return maps


def _memory_format(x: Tensor) -> torch.memory_format:
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


def _unflatten(tensors: Sequence[Tensor | None]) -> list[DenseLayer]:
    size = len(DenseLayer._fields)
    starts = range(0, len(tensors), size)
    return [DenseLayer(*tensors[at : at + size]) for at in starts]  # type: ignore[arg-type]  # the types repeat
