"""Optimizers by their names in recipes, and the learning rates of the parts of a network."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from visionkit.errors import ConfigError
from visionkit.models.base import Model
from visionkit.option_checks import check_above, check_at_least, check_below
from visionkit.registry import Registry
from visionkit.tasks.fused import make_fused

logger = logging.getLogger("visionkit")


@dataclass
class OptimizerOptions:
    """Optimizer and learning rates.

    The defaults are those of Faster R-CNN with FPN: SGD, learning rate 0.02 for 16 images, momentum 0.9, weight decay
    1e-4.

    Attributes:
        name: sgd, adam, adamw, rmsprop, or an optimizer that a plugin registers.
        lr: learning rate for `base_batch_size` images per step.
        momentum: momentum of SGD. The other optimizers accept only the default.
        nesterov: whether SGD uses Nesterov momentum (Sutskever 2013).
        weight_decay: weight decay, an L2 penalty for sgd, adam and rmsprop, decoupled for adamw.
        decay_norm: whether weight decay also applies to normalization layers and biases.
        backbone_lr_factor: ratio of the backbone's learning rate to that of the other layers.
        stage_lr_decay: factor on the learning rate per stage of the backbone, from the deepest stage to the first. It
            is applied once to the deepest stage, and as many times as there are stages to the first (Howard & Ruder
            2018, section 3.2: 1/2.6; Bao 2021: 0.65 per layer).
        base_batch_size: number of images per step that `lr` is for, over all devices and accumulated batches.
        scale_lr: whether `lr` is scaled in proportion to the effective batch size (Goyal 2017), by a factor from 1/16
            to 32; False only warns.

    Raises:
        ConfigError: the optimizer is unknown, or a number is out of its range.

    Example:
        >>> import visionkit as vk
        >>> vk.OptimizerOptions(name="adamw", lr=0.001, momentum=0.9).name
        'adamw'
    """

    name: str = "sgd"
    lr: float = 0.02
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    decay_norm: bool = True
    backbone_lr_factor: float = 1.0
    stage_lr_decay: float = 1.0
    base_batch_size: int = 16
    scale_lr: bool = True

    def __post_init__(self) -> None:
        optimizers.get(self.name)
        check_above(0, lr=self.lr, stage_lr_decay=self.stage_lr_decay)
        check_below(0, 1, momentum=self.momentum)
        check_at_least(0, weight_decay=self.weight_decay, backbone_lr_factor=self.backbone_lr_factor)
        check_at_least(1, base_batch_size=self.base_batch_size)
        if self.name == "sgd" and self.nesterov:
            check_above(0, momentum=self.momentum)


HEAD = "head"
"""Name of the parameter groups of all layers outside the backbone."""

BACKBONE = "backbone"
"""Name of the parameter groups of a backbone without stages, or of its parameters that belong to no stage."""


def parameter_groups(network: Model, options: OptimizerOptions) -> list[dict[str, Any]]:
    """Return optimizer groups of the trainable parameters, by their stage and by whether weight decay applies.

    Returns:
        Groups with `params`, `lr`, `weight_decay` and `part`: a stage of the backbone ("s4"), `BACKBONE` or `HEAD`.

    Raises:
        ConfigError: no parameter is trainable, or `stage_lr_decay` is set and the backbone has no stages.
    """
    part_of = _stage_of_parameters(network)
    if options.stage_lr_decay != 1 and not network.stage_modules:
        raise ConfigError("optimizer.stage_lr_decay needs a backbone of visionkit, whose stages are known")
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for parameter in network.parameters():
        if parameter.requires_grad:
            decays = options.decay_norm or parameter.ndim > 1
            groups.setdefault((part_of.get(id(parameter), HEAD), decays), []).append(parameter)
    if not groups:
        raise ConfigError("nothing is left to train: every parameter is frozen")
    factors = _rate_factors(network, options)
    return [
        {
            "params": parameters,
            "part": part,
            "lr": options.lr * factors[part],
            "weight_decay": options.weight_decay if decays else 0.0,
        }
        for (part, decays), parameters in groups.items()
    ]


def _stage_of_parameters(network: Model) -> dict[int, str]:
    """Return, by the id of each backbone parameter, the first stage that needs the parameter."""
    part_of: dict[int, str] = {}
    for stage, names in network.stage_modules.items():
        for name in names:
            for parameter in network.backbone.get_submodule(name).parameters():
                part_of.setdefault(id(parameter), stage)
    return {**{id(parameter): BACKBONE for parameter in network.backbone.parameters()}, **part_of}


def _rate_factors(network: Model, options: OptimizerOptions) -> dict[str, float]:
    """Return the factor on the learning rate of each part of a network."""
    deepest_first = [BACKBONE, *reversed(list(network.stage_modules))]
    of_stages = {
        part: options.backbone_lr_factor * options.stage_lr_decay**steps for steps, part in enumerate(deepest_first)
    }
    return {HEAD: 1.0, **of_stages}


optimizers: Registry[Callable[[list[dict[str, Any]], OptimizerOptions], Optimizer]] = Registry("optimizer")
register_optimizer = optimizers.register


@optimizers.register("sgd")
def _sgd(groups: list[dict[str, Any]], options: OptimizerOptions) -> Optimizer:
    return make_fused(SGD, groups, lr=options.lr, momentum=options.momentum, nesterov=options.nesterov)


@optimizers.register("adam")
def _adam(groups: list[dict[str, Any]], options: OptimizerOptions) -> Optimizer:
    return make_fused(Adam, groups, lr=options.lr)


@optimizers.register("adamw")
def _adamw(groups: list[dict[str, Any]], options: OptimizerOptions) -> Optimizer:
    return make_fused(AdamW, groups, lr=options.lr)


@optimizers.register("rmsprop")
def _rmsprop(groups: list[dict[str, Any]], options: OptimizerOptions) -> Optimizer:
    """Return RMSprop (Tieleman & Hinton 2012, lecture 6e: decay 0.9) with an epsilon that matches Lasagne's.

    Published results were obtained with Lasagne, which adds 1e-6 inside the square root. Torch adds epsilon outside
    the root, where 1e-3 gives the same bound on the step for small gradients.
    """
    return RMSprop(groups, lr=options.lr, alpha=0.9, eps=1e-3)


SMALLEST_LR_FACTOR, LARGEST_LR_FACTOR = 1 / 16, 32.0
"""Limits of the factor on the learning rate. Goyal 2017 multiplies by up to 32 (8,192 / 256); above that, training
fails."""


def scaled_lr(options: OptimizerOptions, batch_size: int) -> float:
    """Return the learning rate for an effective batch of `batch_size` images. Log it if it differs from `lr`."""
    factor = batch_size / options.base_batch_size
    if factor == 1:
        return options.lr
    if not options.scale_lr:
        logger.warning(
            "optimizer.lr %g is meant for %d images a step, not %d", options.lr, options.base_batch_size, batch_size
        )
        return options.lr
    used = min(max(factor, SMALLEST_LR_FACTOR), LARGEST_LR_FACTOR)
    lr = options.lr * used
    logger.info("learning rate %g x %d/%d images a step = %g", options.lr, batch_size, options.base_batch_size, lr)
    if used != factor:
        logger.warning("the factor %g on the learning rate is limited to %g: set optimizer.lr yourself", factor, used)
    return lr


def count_parameters(parameters: Iterable[nn.Parameter]) -> tuple[int, int]:
    """Return the number of trainable parameters and the number of all parameters."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in parameters]
    return sum(size for size, trains in sizes if trains), sum(size for size, _ in sizes)
