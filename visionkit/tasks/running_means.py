"""Means of losses over an epoch."""

from collections.abc import Mapping

import torch
from torch import Tensor

from visionkit.metrics.all_gather import all_gather_objects

PREFIX = "sum/"
"""Prefix of the names of the values in a state, which also holds the number of images."""


class RunningMeans:
    """Means of named values over the batches of an epoch, weighted by the number of images.

    Lightning's own means of an epoch are not part of checkpoints, so that those of a resumed epoch would lack the
    batches before the interruption. In a distributed run, Lightning's means also need a batch in every process.

    Example:
        >>> import torch
        >>> from visionkit.tasks.running_means import RunningMeans
        >>> means = RunningMeans()
        >>> means.update({"loss": torch.tensor(1.0)}, images=1)
        >>> means.update({"loss": torch.tensor(4.0)}, images=2)
        >>> means.compute()
        {'loss': 3.0}
    """

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.images = 0

    def update(self, values: Mapping[str, Tensor], images: int) -> None:
        """Add the mean values of a batch of `images` images."""
        for name, value in values.items():
            weighted = value.detach() * images
            self.sums[name] = self.sums[name].to(weighted) + weighted if name in self.sums else weighted
        self.images += images

    def compute(self) -> dict[str, float]:
        """Return the mean of each value over all processes; every process must call this."""
        state = self.state_dict()
        images = state.pop("images")
        return {name.removeprefix(PREFIX): total / images for name, total in state.items()}

    def reset(self) -> None:
        """Start a new epoch."""
        self.sums, self.images = {}, 0

    def state_dict(self) -> dict[str, float]:
        """Return the sums and the number of images of all processes as numbers; every process must call this."""
        own = {"images": self.images, **{PREFIX + name: total.item() for name, total in self.sums.items()}}
        total: dict[str, float] = {}
        for state in all_gather_objects(own):
            for name, value in state.items():
                total[name] = total.get(name, 0) + value
        return total

    def load_state_dict(self, state: Mapping[str, float], is_first_process: bool = True) -> None:
        """Continue from a state that `state_dict` returned. The first of several processes takes all of it."""
        self.reset()
        if is_first_process:
            self.images = int(state["images"])
            self.sums = {
                name.removeprefix(PREFIX): torch.tensor(total) for name, total in state.items() if name != "images"
            }
