"""Fused optimizers, which update all parameters in one kernel: half the time for SGD, a third for Adam on a CPU."""

from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

Fusable = TypeVar("Fusable", SGD, Adam, AdamW)

FUSED_DEVICES = ("cpu", "cuda")
"""Types of devices that have the kernels."""


def make_fused(kind: type[Fusable], groups: list[dict[str, Any]], **options: Any) -> Fusable:
    """Return an optimizer, which is fused if all parameters allow it.

    Args:
        kind: class of the optimizer.
        groups: parameter groups.
        options: further arguments of the class.
    """
    parameters = [parameter for group in groups for parameter in group["params"]]
    can_fuse = all(value.device.type in FUSED_DEVICES and value.is_floating_point() for value in parameters)
    optimizer = kind(groups, fused=can_fuse or None, **options)
    # It could unscale the gradients of 16-mixed itself. Lightning then refuses to clip them, also in bf16-mixed.
    optimizer._step_supports_amp_scaling = False
    optimizer.register_load_state_dict_post_hook(_lay_out_state)
    if can_fuse and isinstance(optimizer, SGD):
        optimizer.register_step_pre_hook(_complete_momentum)
    return optimizer


def _complete_momentum(optimizer: Optimizer, *_: Any) -> None:
    """Give each parameter a momentum of zeros if another one of its group has a momentum.

    The kernel makes it only if no parameter that has a gradient has one. A step would fail if a parameter gets its
    first gradient later than others, for example that of a head without images in the first batch. Gradients are not
    known here: Lightning computes them within the step. Zeros lead to the same step, since there is no dampening.
    """
    for group in optimizer.param_groups:
        trained = [parameter for parameter in group["params"] if parameter.requires_grad]
        late = [parameter for parameter in trained if not _has_momentum(optimizer, parameter)]
        if group["momentum"] and len(late) < len(trained):
            for parameter in late:
                zeros = torch.zeros_like(parameter, memory_format=torch.preserve_format)
                optimizer.state[parameter]["momentum_buffer"] = zeros


def _has_momentum(optimizer: Optimizer, parameter: Tensor) -> bool:
    return parameter in optimizer.state and optimizer.state[parameter].get("momentum_buffer") is not None


def _lay_out_state(optimizer: Optimizer) -> None:
    """Give the state of each parameter its memory layout, which the kernels assume.

    A checkpoint can have another one, if `runtime.channels_last` has been changed. Gradients always have that of their
    parameter.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
