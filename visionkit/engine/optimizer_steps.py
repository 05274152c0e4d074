"""Hooks around the steps of an optimizer, for short runs that find a setting."""

from collections.abc import Callable, Sequence
from typing import Any

from torch.optim import Optimizer


class ScaledSteps:
    """Multiply the learning rate of each parameter group during steps, and report each step.

    Schedules, which set the learning rates between steps, see them without the factors.

    Args:
        optimizer: optimizer whose steps are changed.
        factors: factor of each parameter group.
        report: called after each step with the learning rate of the first group, without its factor.

    Example:
        >>> import torch
        >>> from visionkit.engine.optimizer_steps import ScaledSteps
        >>> weight, lrs = torch.nn.Parameter(torch.zeros(1)), []
        >>> optimizer = torch.optim.SGD([weight], lr=0.5)
        >>> steps = ScaledSteps(optimizer, [10.0], lrs.append)
        >>> weight.grad = torch.ones(1)
        >>> optimizer.step()
        >>> weight.item(), lrs
        (-5.0, [0.5])
    """

    def __init__(self, optimizer: Optimizer, factors: Sequence[float], report: Callable[[float], None]) -> None:
        self.factors, self.report = factors, report
        self._lrs: list[Any] = []
        optimizer.register_step_pre_hook(self._scale)
        optimizer.register_step_post_hook(self._restore)

    def _scale(self, optimizer: Optimizer, *_: Any) -> None:
        self._lrs = [group["lr"] for group in optimizer.param_groups]
        for group, factor in zip(optimizer.param_groups, self.factors, strict=True):
            group["lr"] = group["lr"] * factor

    def _restore(self, optimizer: Optimizer, *_: Any) -> None:
        for group, lr in zip(optimizer.param_groups, self._lrs, strict=True):
            group["lr"] = lr
        self.report(float(self._lrs[0]))
