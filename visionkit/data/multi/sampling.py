"""The sampler of training with several data cards."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from visionkit.data.samplers import ShuffledSampler, dealt
from visionkit.errors import ConfigError
from visionkit.option_checks import check_at_least
from visionkit.registry import suggest

MultiSampling = Literal["proportional", "temperature", "round_robin"]
"""How often the images of each group are drawn: all equally often; by a temperature; or the groups in turn."""


class MultiSampler(ShuffledSampler):
    """Sampler of images in groups. An epoch has as many draws as there are images.

    - proportional: every image once per epoch, in random order, as `ShuffledSampler` does.
    - temperature: a group of n images gets a share of the draws proportional to n^(1/T). 1 is proportional to n; a
      large T approaches equal shares.
    - round_robin: the draws of each process take the groups in turn. The first group of process number r is group
      number r, so that the processes draw from different groups at the same time.

    The shares are exact in every epoch, up to one draw. Within a group, no image is repeated before all others have
    been drawn. The images of one group alone have the order and the augmentation of `ShuffledSampler`.

    Args:
        groups: int64 [N], number of each image's group.
        sampling: how often each group is drawn.
        temperature: T of `temperature`, at least 1.
        rank, processes: index of this process and number of processes.
        seed: seed of the order; None takes the seed of the run.

    Raises:
        ConfigError: `sampling` is unknown, or the temperature is below 1.

    Example:
        >>> import numpy as np
        >>> from visionkit.data.multi.sampling import MultiSampler
        >>> groups = np.array([0] * 9 + [1])
        >>> sampler = MultiSampler(groups, "round_robin", 1.0, rank=0, processes=1, seed=0)
        >>> [int(groups[key.number]) for key in sampler]
        [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]
    """

    def __init__(
        self,
        groups: NDArray[np.int64],
        sampling: MultiSampling,
        temperature: float,
        rank: int,
        processes: int,
        seed: int | None = None,
    ) -> None:
        super().__init__(len(groups), rank, processes, seed)
        check_sampling(sampling, temperature)
        self.sampling, self.temperature = sampling, temperature
        self.members = [np.flatnonzero(groups == group) for group in np.unique(groups)]

    def order(self, random: np.random.Generator) -> NDArray[np.int64]:
        """Return the images of an epoch; see `TrainingSampler.order`."""
        if self.sampling == "proportional" or len(self.members) < 2:
            return super().order(random)
        places = self._turns() if self.sampling == "round_robin" else self._shares(random)
        drawn = np.zeros(self.total_size, np.int64)
        for group, members in enumerate(self.members):
            own = np.flatnonzero(places == group)
            drawn[own] = dealt(members, len(own), random)
        return drawn

    def _turns(self) -> NDArray[np.int64]:
        """Return the group of each draw if every process takes the groups in turn."""
        steps, ranks = np.divmod(np.arange(self.total_size), self.num_replicas)
        return (steps + ranks) % len(self.members)

    def _shares(self, random: np.random.Generator) -> NDArray[np.int64]:
        """Return the group of each draw, in random order, by the shares of the temperature."""
        sizes = np.array([len(members) for members in self.members])
        return random.permutation(np.repeat(np.arange(len(sizes)), share_out(sizes, self.temperature, self.total_size)))


def check_sampling(sampling: str, temperature: float) -> None:
    """Check the options of `MultiSampler`.

    Raises:
        ConfigError: `sampling` is unknown, or the temperature is below 1.
    """
    if sampling not in get_args(MultiSampling):
        raise ConfigError(f"sampling={sampling!r} is unknown{suggest(str(sampling), get_args(MultiSampling))}")
    check_at_least(1, temperature=temperature)


def share_out(sizes: NDArray[np.int64], temperature: float, total: int) -> NDArray[np.int64]:
    """Return the number of draws of each group, by the largest remainders.

    Args:
        sizes: int64 [G], number of images of each group, at least 1.
        temperature: T; the shares are proportional to size^(1/T).
        total: number of draws of all groups.

    Example:
        >>> import numpy as np
        >>> from visionkit.data.multi.sampling import share_out
        >>> [share_out(np.array([900, 100]), temperature, 1000).tolist() for temperature in (1, 2, 1000)]
        [[900, 100], [750, 250], [501, 499]]
    """
    weights = sizes ** (1 / temperature)
    exact = total * weights / weights.sum()
    counts = np.floor(exact).astype(np.int64)
    largest = np.argsort(counts - exact, kind="stable")[: total - counts.sum()]
    counts[largest] += 1
    return counts
