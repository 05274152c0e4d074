"""Options of the balancing of several losses."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field

from visionkit.errors import ConfigError
from visionkit.option_checks import check_at_least
from visionkit.registry import suggest
from visionkit.tasks.balancing.base import LossBalancer, balancers


@dataclass
class BalancingOptions:
    """How the losses of several heads are balanced.

    Attributes:
        name: fixed (weights alone), uncertainty (Kendall 2018), gradnorm (Chen 2018) or pcgrad (Yu 2020).
        weights: factor of the loss of each head; heads that are left out have 1. A head with 0 is not trained.
        options: further arguments of the class, such as alpha and lr of gradnorm.
        cosine_every: optimizer steps between two measurements of the cosine similarity of the heads' gradients, which
            take one backward pass per head; 0 for none.

    Raises:
        ConfigError: there is no such way or option, or a number is below 0.

    Example:
        >>> import visionkit as vk
        >>> vk.BalancingOptions(name="gradnorm", options={"alpha": 0.5}).make(["objects", "tags"]).alpha
        0.5
    """

    name: str = "fixed"
    weights: dict[str, float] = field(default_factory=dict)
    options: dict[str, float] = field(default_factory=dict)
    cosine_every: int = 50

    def __post_init__(self) -> None:
        known = [name for name in inspect.signature(balancers.get(self.name)).parameters if name not in BASE_ARGUMENTS]
        for option in self.options:
            if option not in known:
                raise ConfigError(f"options: {self.name} has no option {option!r}{suggest(option, known)}")
        check_at_least(0, weights=self.weights, cosine_every=self.cosine_every)

    def make(self, heads: Sequence[str]) -> LossBalancer:
        """Return the balancer of the losses of `heads`.

        Raises:
            ConfigError: a weight is for a head that does not exist, or for none that is trained.
        """
        balancer = balancers.get(self.name)(heads, self.weights, **self.options)
        if not any(balancer.weights.values()):
            raise ConfigError("weights: all are 0, so that nothing would be trained")
        return balancer


BASE_ARGUMENTS = ("heads", "weights")
"""Arguments of every balancer."""
