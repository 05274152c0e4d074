"""Means of losses over an epoch."""

from collections.abc import Mapping

import torch
from torch import Tensor

from visionkit.metrics.all_gather import all_gather_objects

SUM, IMAGES = "sum/", "images/"
"""Prefixes of the names of the values in a state: their sums, and the numbers of images."""


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
        self.images: dict[str, int] = {}

    def update(self, values: Mapping[str, Tensor], images: int) -> None:
        """Add the mean values of a batch of `images` images."""
        for name, value in values.items():
            weighted = value.detach() * images
            self.sums[name] = self.sums[name].to(weighted) + weighted if name in self.sums else weighted
            self.images[name] = self.images.get(name, 0) + images

    def part(self, prefix: str) -> "RunningMeans":
        """Return means whose values are added to these, with `prefix` before their names."""
        return _Part(self, prefix)

    def compute(self) -> dict[str, float]:
        """Return the mean of each value over all processes; every process must call this."""
        state = self.state_dict()
        names = [name.removeprefix(SUM) for name in state if name.startswith(SUM)]
        return {name: state[SUM + name] / state[IMAGES + name] for name in names}

    def reset(self) -> None:
        """Start a new epoch."""
        self.sums, self.images = {}, {}

    def state_dict(self) -> dict[str, float]:
        """Return the sums and the numbers of images of all processes; every process must call this."""
        own = {
            **{IMAGES + name: images for name, images in self.images.items()},
            **{SUM + name: total.item() for name, total in self.sums.items()},
        }
        total: dict[str, float] = {}
        for state in all_gather_objects(own):
            for name, value in state.items():
                total[name] = total.get(name, 0) + value
        return total

    def load_state_dict(self, state: Mapping[str, float], is_first_process: bool = True) -> None:
        """Continue from a state that `state_dict` returned. The first of several processes takes all of it.

        Older states have one number of images for all values.
        """
        self.reset()
        if is_first_process:
            names = [name.removeprefix(SUM) for name in state if name.startswith(SUM)]
            self.sums = {name: torch.tensor(state[SUM + name]) for name in names}
            self.images = {name: int(state[IMAGES + name if IMAGES + name in state else "images"]) for name in names}


class _Part(RunningMeans):
    """Means that are part of others; see `RunningMeans.part`."""

    def __init__(self, whole: RunningMeans, prefix: str) -> None:
        super().__init__()
        self.whole, self.prefix = whole, prefix

    def update(self, values: Mapping[str, Tensor], images: int) -> None:
        """See `RunningMeans.update`."""
        self.whole.update({f"{self.prefix}{name}": value for name, value in values.items()}, images)
