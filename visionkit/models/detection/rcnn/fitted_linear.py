"""Linear layer that is fitted after the last epoch instead of trained with gradients."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class FittedLinear(nn.Module):
    """Linear layer with buffers instead of parameters: checkpoints save them, and no optimizer changes them.

    Args:
        inputs: number of inputs.
        outputs: number of outputs.

    Attributes:
        weight: float32 [outputs, inputs].
        bias: float32 [outputs].
        fitted: uint8 [], 1 if weight and bias are fitted to the present network, else 0. It is not a bool because a
            moving average of weights also averages buffers: the average of a 1 and later zeros would be true as a
            bool, and is 0 as an integer.
    """

    weight: Tensor
    bias: Tensor
    fitted: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(outputs, inputs))
        self.register_buffer("bias", torch.zeros(outputs))
        self.register_buffer("fitted", torch.tensor(0, dtype=torch.uint8))

    def forward(self, x: Tensor) -> Tensor:
        """Return float32 [R, outputs] of [R, inputs]."""
        return functional.linear(x.float(), self.weight.float(), self.bias.float())

    def fit(self, weight: Tensor, bias: Tensor) -> None:
        """Set weight and bias, and mark them as fitted."""
        self.weight.copy_(weight)
        self.bias.copy_(bias)
        self.fitted.fill_(1)

    def invalidate(self) -> None:
        """Mark weight and bias as not fitted, after the network before this layer has changed."""
        self.fitted.fill_(0)
