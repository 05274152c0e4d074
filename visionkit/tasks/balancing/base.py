"""Base class of the ways to balance the losses of several heads, and their registry."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from visionkit.errors import ConfigError
from visionkit.option_checks import check_at_least
from visionkit.registry import Registry, suggest


class LossBalancer(nn.Module):
    """Base class of the ways to balance the losses of several heads.

    Args:
        heads: names of the heads.
        weights: fixed factor of the loss of each head; heads that are left out have 1. A head with the factor 0 does
            not change the common parameters.

    Raises:
        ConfigError: a weight is negative, or for a head that does not exist.
    """

    def __init__(self, heads: Sequence[str], weights: Mapping[str, float] | None = None) -> None:
        super().__init__()
        given = dict(weights or {})
        for name in given:
            if name not in heads:
                raise ConfigError(f"weights: there is no head {name!r}{suggest(name, heads)}")
        check_at_least(0, weights=given)
        self.weights = {name: float(given.get(name, 1.0)) for name in heads}

    def forward(self, losses: Mapping[str, Tensor], shared: Sequence[Tensor]) -> Tensor:
        """Return the scalar that is minimized.

        Its value is the sum of the weighted losses, with what else is trained. Its gradient may be another one than
        that of this sum.

        Args:
            losses: scalar loss of each head that has labels in the batch.
            shared: parameters that all heads share, such as those of the backbone.
        """
        raise NotImplementedError

    def _weighted(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: self.weights[name] * loss for name, loss in losses.items()}


balancers: Registry[type[LossBalancer]] = Registry("balancing", "visionkit.tasks.balancing")
"""Ways to balance losses by name."""
