"""Losses with fixed weights."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from visionkit.tasks.balancing.base import LossBalancer, balancers


@balancers.register("fixed")
class FixedWeights(LossBalancer):
    """The sum of the losses with fixed weights.

    Example:
        >>> import torch
        >>> from visionkit.tasks.balancing import balancers
        >>> balance = balancers.get("fixed")(["objects", "tags"], {"tags": 0.5})
        >>> balance({"objects": torch.tensor(2.0), "tags": torch.tensor(3.0)}, []).item()
        3.5
    """

    def forward(self, losses: Mapping[str, Tensor], shared: Sequence[Tensor]) -> Tensor:
        """See `LossBalancer.forward`."""
        return torch.stack(list(self._weighted(losses).values())).sum()
