"""Losses weighted so that the heads train at similar rates (GradNorm, Chen et al. 2018)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, distributed

from visionkit.ops.shared_gradients import shared_gradients
from visionkit.option_checks import check_above
from visionkit.tasks.balancing.base import LossBalancer, balancers


@balancers.register("gradnorm")
class GradNorm(LossBalancer):
    """Weights that are learned so that no head's gradients dominate (Chen et al. 2018, algorithm 1).

    The target of a head's gradient norm is the mean norm times the head's inverse training rate to the power `alpha`.
    The weights follow the gradient of the distance to the targets (equation 2), and then again sum to the number of
    heads. They are the same in all processes of a run.

    Args:
        heads, weights: see `LossBalancer`; the weights multiply the losses before.
        alpha: strength of the balance; 1.5 in most of the paper's experiments (section 4), and 0 makes the norms equal.
        lr: learning rate of the weights (section 5.1: 0.025).

    Attributes:
        learned: float32 [T], the learned weight of each head.
        first: float32 [T], the loss of each head at the first step with labels for it; 0 before.

    Raises:
        ConfigError: `lr` is not positive.

    Example:
        >>> import torch
        >>> from visionkit.tasks.balancing import balancers
        >>> balance = balancers.get("gradnorm")(["objects", "tags"], alpha=0.0)
        >>> shared = torch.ones(1, requires_grad=True)
        >>> for _ in range(50):
        ...     loss = balance({"objects": 3 * shared.sum(), "tags": shared.sum()}, [shared])
        >>> [round(weight, 1) for weight in balance.learned.tolist()]  # 3 * 0.5 = 1 * 1.5
        [0.5, 1.5]
    """

    learned: Tensor
    first: Tensor

    def __init__(
        self,
        heads: Sequence[str],
        weights: Mapping[str, float] | None = None,
        alpha: float = 1.5,
        lr: float = 0.025,
    ) -> None:
        super().__init__(heads, weights)
        check_above(0, lr=lr)
        self.alpha, self.lr = alpha, lr
        self.register_buffer("learned", torch.ones(len(heads)))
        self.register_buffer("first", torch.zeros(len(heads)))

    def forward(self, losses: Mapping[str, Tensor], shared: Sequence[Tensor]) -> Tensor:
        """See `LossBalancer.forward`. In training mode the weights are updated after they are used."""
        weighted = self._weighted(losses)
        places = [place for place, name in enumerate(self.weights) if name in weighted]
        stacked = torch.stack([weighted[name] for name in self.weights if name in weighted])
        total = (self.learned[places] * stacked).sum()
        if self.training and torch.is_grad_enabled():
            norms = torch.zeros_like(self.learned)
            norms[places] = shared_gradients(list(stacked), shared).norm(dim=1)
            values = torch.full_like(self.learned, torch.nan)
            values[places] = stacked.detach().float()
            self._update(*_mean_of_processes(norms, values))
        return total

    @torch.no_grad()
    def _update(self, norms: Tensor, losses: Tensor) -> None:
        """Move the weights one step towards the targets.

        Args:
            norms: [T], norm of the gradient of each loss before its learned weight.
            losses: [T], value of each loss; NaN for a head without labels.
        """
        self.first.copy_(torch.where(self.first > 0, self.first, losses.nan_to_num()))
        used = (norms > 0) & (self.first > 0) & ~losses.isnan()
        if used.sum() < 2:
            return
        lengths = self.learned[used] * norms[used]
        rates = losses[used] / self.first[used]
        targets = lengths.mean() * (rates / rates.mean()) ** self.alpha
        self.learned[used] -= self.lr * torch.sign(lengths - targets) * norms[used]
        self.learned.clamp_(min=SMALLEST)
        self.learned *= len(self.learned) / self.learned.sum()


SMALLEST = 1e-3
"""Smallest learned weight. A step can be larger than the weight, and a negative one would raise the loss."""


def _mean_of_processes(norms: Tensor, losses: Tensor) -> tuple[Tensor, Tensor]:
    """Return the means over the processes; those of the losses over the processes that have them, else NaN."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return norms, losses
    known = ~losses.isnan()
    sums = torch.stack([norms, losses.nan_to_num(), known.float()])
    distributed.all_reduce(sums)
    counts = sums[2]
    return sums[0] / counts.clamp(min=1), torch.where(counts > 0, sums[1] / counts.clamp(min=1), torch.nan)
