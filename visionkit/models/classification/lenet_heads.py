"""Heads of LeNet-5: with the radial output units of 1998, and with a linear output layer."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from visionkit.backbones.base import Backbone
from visionkit.backbones.lenet import ScaledTanh, initialize_lecun
from visionkit.models.classification.heads import FullyConnectedHead, deepest_stage, heads

CELLS = 5
"""Height and width of the map that C5 takes."""

CODE_LENGTH = 84
"""Number of pixels of the 7 x 12 bitmaps that are the paper's codes."""

CODE_SEED = 1998


@heads.register("lenet5")
class LeNet5Head(FullyConnectedHead):
    """C5 with 120 units, F6 with 84, and one radial unit per class (LeCun et al. 1998, section II.B).

    Args:
        backbone: the backbone that the head is for.
        num_classes: K.
        dropout: dropout probability after C5 and F6; None is 0.
    """

    def __init__(self, backbone: Backbone, num_classes: int, dropout: float | None = None) -> None:
        layers = {
            "c5": initialize_lecun(nn.Linear(deepest_stage(backbone).channels * CELLS * CELLS, 120)),
            "squash5": ScaledTanh(),
            "drop5": nn.Dropout(dropout or 0.0),
            "f6": initialize_lecun(nn.Linear(120, CODE_LENGTH)),
            "squash6": ScaledTanh(),
            "drop6": nn.Dropout(dropout or 0.0),
            "output": RadialUnits(num_classes),
        }
        super().__init__(CELLS, layers)


@heads.register("lenet5_modern")
class LeNet5ModernHead(FullyConnectedHead):
    """Layers of 120 and 84 units with ReLU, and a linear output layer.

    Args:
        backbone: the backbone that the head is for.
        num_classes: K.
        dropout: dropout probability after both layers; None is 0.
    """

    def __init__(self, backbone: Backbone, num_classes: int, dropout: float | None = None) -> None:
        layers = {
            "c5": nn.Linear(deepest_stage(backbone).channels * CELLS * CELLS, 120),
            "relu5": nn.ReLU(inplace=True),
            "drop5": nn.Dropout(dropout or 0.0),
            "f6": nn.Linear(120, 84),
            "relu6": nn.ReLU(inplace=True),
            "drop6": nn.Dropout(dropout or 0.0),
            "output": nn.Linear(84, num_classes),
        }
        super().__init__(CELLS, layers)


class RadialUnits(nn.Module):
    """One Euclidean radial basis function per class: the distance of F6 to the code of the class (equation 7).

    Codes are fixed vectors of ±1. The paper designs them by hand, as bitmaps of the characters, so that similar
    characters have similar codes. Here they are drawn at random with a fixed seed, which works for any number and kind
    of classes. Logits are the negative squared distances: cross-entropy on them is the paper's discriminative
    criterion (equation 9) without its constant rubbish class.

    Args:
        num_classes: K.
    """

    codes: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        generator = torch.Generator(device="cpu").manual_seed(CODE_SEED)
        bits = torch.randint(0, 2, (num_classes, CODE_LENGTH), generator=generator, device="cpu")
        self.register_buffer("codes", bits.float() * 2 - 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [..., K] of [..., 84]."""
        # |x - c|^2 = |x|^2 - 2 x c + |c|^2 needs no [..., K, 84] of differences.
        return 2 * functional.linear(x, self.codes) - x.square().sum(-1, keepdim=True) - CODE_LENGTH
