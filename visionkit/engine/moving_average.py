"""Exponential moving average of the weights."""

import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

Tensors = tuple[Tensor, ...] | list[Tensor]


class MovingAverage(WeightAveraging):
    """Lightning's WeightAveraging with an exponential moving average of parameters and buffers after every step.

    The decay grows with the number of updates, so that the average of a short run does not keep the initial weights;
    see `decay_at`. Unlike with Lightning's EMAWeightAveraging, the average of a constant is exactly that constant. A
    resumed run would otherwise differ in buffers that are not part of checkpoints, such as the mean of the
    preprocessing.

    Args:
        decay: largest weight of the previous average in an update.
        start_step: first optimizer step at which the average is computed.
    """

    def __init__(self, decay: float, start_step: int = 0) -> None:
        def average(averaged: Tensors, current: Tensors, updates: Tensor | int) -> None:
            if averaged[0].is_floating_point():
                torch._foreach_lerp_(averaged, current, 1 - decay_at(int(updates), decay))
            else:
                torch._foreach_copy_(averaged, current)

        super().__init__(use_buffers=True, multi_avg_fn=average)
        self.start_step = start_step

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Return whether the average is updated, given the index of an optimizer step."""
        return step_idx is not None and step_idx >= self.start_step


def decay_at(updates: int, decay: float) -> float:
    """Return the weight of the previous average after `updates` updates: min(decay, (1 + updates) / (10 + updates)).

    This is the rule of TensorFlow's ExponentialMovingAverage with `num_updates`. With a decay of 0.999, it ends after
    8,990 updates.

    Example:
        >>> from visionkit.engine.moving_average import decay_at
        >>> decay_at(0, 0.999), decay_at(8, 0.999), decay_at(100_000, 0.999)
        (0.1, 0.5, 0.999)
    """
    return min(decay, (1 + updates) / (10 + updates))
