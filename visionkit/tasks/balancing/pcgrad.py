"""Losses whose conflicting gradients are projected (PCGrad, Yu et al. 2020)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from visionkit.ops.shared_gradients import project_conflicting, shared_gradients
from visionkit.tasks.balancing.base import LossBalancer, balancers


@balancers.register("pcgrad")
class PCGrad(LossBalancer):
    """The sum of the losses, with projected gradients of the common parameters (Yu et al. 2020, algorithm 1).

    Each process of a run projects its own gradients before they are averaged.

    Example:
        >>> import torch
        >>> from visionkit.tasks.balancing import balancers
        >>> balance = balancers.get("pcgrad")(["objects", "tags"])
        >>> shared = torch.tensor([1.0, 1.0], requires_grad=True)
        >>> objects, tags = shared[0], -shared[0] + shared[1]  # gradients (1, 0) and (-1, 1)
        >>> balance({"objects": objects, "tags": tags}, [shared]).backward()
        >>> shared.grad.tolist()  # (0.5, 0.5) and (0, 1)
        [0.5, 1.5]
    """

    def forward(self, losses: Mapping[str, Tensor], shared: Sequence[Tensor]) -> Tensor:
        """See `LossBalancer.forward`."""
        weighted = list(self._weighted(losses).values())
        total = torch.stack(weighted).sum()
        if not (shared and torch.is_grad_enabled()):
            return total
        gradients = shared_gradients(weighted, shared)
        changes = (project_conflicting(gradients).sum(dim=0) - gradients.sum(dim=0)).split([p.numel() for p in shared])
        # A term with the value 0, whose gradient is the difference to the projected gradient.
        term = torch.stack(
            [(change.view_as(p).to(p.dtype) * p).sum() for change, p in zip(changes, shared, strict=True)]
        ).sum()
        return total + (term - term.detach())
