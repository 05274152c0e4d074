"""The DataLoader of training, which can start in the middle of an epoch."""

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, cast

from torch.utils.data import DataLoader

from visionkit.data.batch import Batch
from visionkit.data.samplers import TrainingSampler


class Position(NamedTuple):
    """Epoch, and number of its batches that were trained."""

    epoch: int
    batches: int


class TrainingLoader(DataLoader[Batch]):
    """DataLoader over a `TrainingSampler` that can start in the middle of an epoch.

    Attributes:
        start: position at which the first iteration starts; None starts at the first batch. Other epochs are complete.
        waited: seconds that all iterations have waited for their batches.
        clock: returns the time in seconds.
    """

    start: Position | None = None
    waited: float = 0.0
    clock: Callable[[], float] = staticmethod(time.monotonic)

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # a generator, see below
        # A generator starts with the first batch. Lightning calls `iter` before it sets the epoch of a resumed run, and
        # workers would then already load images of epoch 0.
        sampler, start = cast(TrainingSampler, self.sampler), self.start
        skipped = start.batches if start is not None and start.epoch == sampler.epoch else 0
        sampler.skipped, self.start = skipped * (self.batch_size or 1), None
        batches = super().__iter__()
        while (batch := self._next(batches)) is not None:
            yield batch

    def _next(self, batches: Iterator[Batch]) -> Batch | None:
        """Return the next batch, None after the last one, and add the time that it took."""
        start = self.clock()
        batch = next(batches, None)
        self.waited += self.clock() - start
        return batch

    def state_dict(self) -> dict[str, int]:
        """Return nothing: `VisionData` stores the position. Lightning takes a loader with a state as resumable."""
        return {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Do nothing; see `state_dict`."""
