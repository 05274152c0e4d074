"""Losses weighted by learned uncertainties (Kendall et al. 2018)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from visionkit.tasks.balancing.base import LossBalancer, balancers


@balancers.register("uncertainty")
class UncertaintyWeights(LossBalancer):
    """Weights that follow from a learned variance of each head (Kendall et al. 2018, section 3.2).

    With s = log sigma^2, a loss counts as exp(-s) loss + s / 2, the form of classification (equation 10). Boxes are
    treated alike, since a detector's loss has both kinds.

    Args:
        heads, weights: see `LossBalancer`; the weights multiply the losses before.

    Attributes:
        log_variances: s of each head, trained together with the network. They need no weight decay.

    Example:
        >>> import torch
        >>> from visionkit.tasks.balancing import balancers
        >>> balance = balancers.get("uncertainty")(["objects", "tags"])
        >>> balance({"objects": torch.tensor(2.0), "tags": torch.tensor(3.0)}, []).item()
        5.0
    """

    def __init__(self, heads: Sequence[str], weights: Mapping[str, float] | None = None) -> None:
        super().__init__(heads, weights)
        self.log_variances = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in heads})

    def forward(self, losses: Mapping[str, Tensor], shared: Sequence[Tensor]) -> Tensor:
        """See `LossBalancer.forward`."""
        weighted = self._weighted(losses)
        terms = [
            torch.exp(-self.log_variances[name]) * loss + self.log_variances[name] / 2
            for name, loss in weighted.items()
            if self.weights[name]
        ]
        # All variances are part of the graph: a distributed run expects a gradient of each.
        rest = sum(0.0 * variance for variance in self.log_variances.values())
        return torch.stack([*terms, *(weighted[name] for name in weighted if not self.weights[name])]).sum() + rest
