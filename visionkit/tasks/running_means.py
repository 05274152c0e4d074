"""Means of the training losses over an epoch."""

from collections.abc import Mapping

import torch
from torch import Tensor


class RunningMeans:
    """Means of named values over the batches of an epoch, weighted by the number of images.

    Lightning's own means of an epoch are not part of checkpoints, so that those of a resumed epoch would lack the
    batches before the interruption.

    Example:
        >>> import torch
        >>> from visionkit.tasks.running_means import RunningMeans
        >>> means = RunningMeans()
        >>> means.update({"loss": torch.tensor(1.0)}, images=1)
        >>> means.update({"loss": torch.tensor(4.0)}, images=2)
        >>> means.compute()
        {'loss': tensor(3.)}
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

    def compute(self) -> dict[str, Tensor]:
        """Return the mean of each value."""
        return {name: total / self.images for name, total in self.sums.items()}

    def reset(self) -> None:
        """Start a new epoch."""
        self.sums, self.images = {}, 0

    def state_dict(self) -> dict[str, float]:
        """Return the sums and the number of images as numbers."""
        return {"images": self.images, **{f"sum/{name}": total.item() for name, total in self.sums.items()}}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Continue from a state that `state_dict` returned."""
        self.images = int(state["images"])
        self.sums = {name[4:]: torch.tensor(total) for name, total in state.items() if name.startswith("sum/")}
