"""Exponential moving average of the weights."""

import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor


class MovingAverage(WeightAveraging):
    """Lightning's WeightAveraging with an exponential moving average of parameters and buffers after every step.

    Unlike with Lightning's EMAWeightAveraging, the average of a constant is exactly that constant. A resumed run would
    otherwise differ in buffers that are not part of checkpoints, such as the mean of the preprocessing.

    Args:
        decay: weight of the previous average in each update.
        start_step: first optimizer step at which the average is computed.
    """

    def __init__(self, decay: float, start_step: int = 0) -> None:
        def average(averaged: Tensor, current: Tensor, updates: Tensor | int) -> Tensor:
            return torch.lerp(averaged, current, 1 - decay) if averaged.is_floating_point() else current

        super().__init__(use_buffers=True, avg_fn=average)
        self.start_step = start_step

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Return whether the average is updated, given the index of an optimizer step."""
        return step_idx is not None and step_idx >= self.start_step
