"""Linear layers that a stage after fine-tuning fits, in place of gradients."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class FittedLinear(nn.Module):
    """A linear layer of buffers: they go into checkpoints, and no optimizer sees them.

    Args:
        inputs: values of one region.
        outputs: what it says of each.

    Attributes:
        weight: float32 [outputs, inputs].
        bias: float32 [outputs].
        fitted: uint8 [], 1 where both are of use, else 0. No bool: a moving average of weights takes buffers along, and
            what it keeps of the 1 of a network that has changed since is true as a bool, but 0 as a whole number.
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
        """From [R, inputs] to float32 [R, outputs]."""
        return functional.linear(x.float(), self.weight.float(), self.bias.float())

    def fit(self, weight: Tensor, bias: Tensor) -> None:
        """Take values of the attributes' shapes."""
        self.weight.copy_(weight)
        self.bias.copy_(bias)
        self.fitted.fill_(1)

    def forget(self) -> None:
        """Say that the network below has changed, and the values are of no more use."""
        self.fitted.fill_(0)
