"""The fully connected end of LeNet-5, with the output units of 1998 and with today's."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from visionkit.backbones.base import Backbone
from visionkit.backbones.lenet import ScaledTanh, initialize_lecun
from visionkit.models.classification.heads import FullyConnectedHead, deepest_stage, heads

CELLS = 5
CODE_LENGTH = 84
"""The 7 x 12 pixels of the bitmaps that served the paper as codes."""

CODE_SEED = 1998


@heads.register("lenet5")
class LeNet5Head(FullyConnectedHead):
    """C5 with 120 units, F6 with 84, and one radial unit a class (LeCun et al. 1998, section II.B).

    Args:
        backbone: whose deepest map is taken.
        num_classes: K.
        dropout: share of C5's and F6's values that is dropped; None is 0.
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
    """Layers of 120 and 84 with ReLU, and a linear output.

    Args:
        backbone: whose deepest map is taken.
        num_classes: K.
        dropout: share of the two layers' values that is dropped; None is 0.
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
    """One Euclidean radial basis function a class (equation 7): how far F6 is from the code of the class.

    The paper draws the codes by hand, as bitmaps of the characters, so that characters that look alike have codes
    that are alike. These are codes of +-1, too, and fixed, too, but drawn at random once for all: they serve any
    number and kind of classes, and lie far apart. Logits are the negative squared distances, so that cross-entropy on
    them is the paper's discriminative criterion (equation 9) without its constant rubbish class.

    Args:
        num_classes: K.
    """

    codes: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        dice = torch.Generator(device="cpu").manual_seed(CODE_SEED)
        bits = torch.randint(0, 2, (num_classes, CODE_LENGTH), generator=dice, device="cpu")
        self.register_buffer("codes", bits.float() * 2 - 1)

    def forward(self, x: Tensor) -> Tensor:
        """[..., 84] to logits [..., K]."""
        # |x - c|^2 = |x|^2 - 2 x c + |c|^2: no [..., K, 84] of differences.
        return 2 * functional.linear(x, self.codes) - x.square().sum(-1, keepdim=True) - CODE_LENGTH
