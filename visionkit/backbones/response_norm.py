"""Local response normalization of AlexNet."""

from torch import nn


class ResponseNorm(nn.LocalResponseNorm):
    """Local response normalization: b = a / (k + alpha * sum of a^2 over n channels)^beta.

    n = 5, k = 2, alpha = 1e-4, beta = 0.75 (Krizhevsky et al. 2012, section 3.3). VGG's A-LRN and ZFNet use the same.
    """

    def __init__(self) -> None:
        channels = 5
        # torch multiplies alpha by the mean over the channels, the paper by their sum.
        super().__init__(channels, alpha=1e-4 * channels, beta=0.75, k=2.0)
