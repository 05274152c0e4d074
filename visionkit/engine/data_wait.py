"""Share of the training time that is spent waiting for data, and the utilization of the GPU."""

import logging
import os
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from visionkit.data.training_loader import TrainingLoader

logger = logging.getLogger("visionkit")

HIGH = 0.2
"""Share of waiting from which the log says what to do."""

SAMPLED_EVERY = 2.0
"""Seconds between two samples of the utilization, each of which is the GPU's mean over about a second."""


class Gap(NamedTuple):
    """The time between two batches: seconds in the loader, and on a GPU the events around it."""

    waited: float
    ended: torch.cuda.Event | None
    started: torch.cuda.Event | None


class DataWait(Callback):
    """Callback that logs at the end of training which share of the time was spent waiting for data.

    Validations do not count. Waiting is the time in the training loader. A GPU may still work on the last batch then,
    so there it is at most the time between the end of a batch and the start of the next one on the GPU.

    Args:
        clock: returns the time in seconds.

    Example:
        >>> from visionkit.engine.data_wait import DataWait
        >>> DataWait().facts()
        {}
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._seconds, self._waited = 0.0, 0.0
        self._mark, self._waited_before, self._last_sample = 0.0, 0.0, 0.0
        self._loader: TrainingLoader | None = None
        self._ended: torch.cuda.Event | None = None
        self._gaps: deque[Gap] = deque()
        self._utilization: list[float] = []

    def facts(self) -> dict[str, float]:
        """Return the shares of the waiting and of the GPU's utilization that are known, by their names in run.yaml."""
        found = {}
        if self._loader is not None and self._seconds > 0:
            found["data_wait"] = round(self._waited / self._seconds, 4)
        if self._utilization:
            found["gpu_utilization"] = round(sum(self._utilization) / len(self._utilization), 4)
        return found

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the time of the first batch of a run that is resumed within an epoch, which does not start then."""
        self._start(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the time of the first batch."""
        self._start(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """End the gap before the batch."""
        if self._loader is not None:
            started = None if self._ended is None else _recorded()
            self._gaps.append(Gap(self._loader.waited - self._waited_before, self._ended, started))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the time of the batch and of the gap before it, and start the next gap."""
        on_gpu = pl_module.device.type == "cuda"
        self._seconds += self.clock() - self._mark
        self._count_gaps()
        if on_gpu and self.clock() - self._last_sample >= SAMPLED_EVERY:
            self._last_sample = self.clock()
            self._utilization += _utilization(pl_module.device)
        self._start_gap(_recorded() if on_gpu else None)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave out the time of the validation."""
        self._start_gap(None)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the shares, and what to do about much waiting."""
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        self._count_gaps()
        facts = self.facts()
        if "data_wait" not in facts or self._loader is None:
            return
        share = facts["data_wait"]
        gpu = f"; GPU utilization {facts['gpu_utilization']:.0%}" if "gpu_utilization" in facts else ""
        advice = f": {_advice(self._loader.num_workers)}" if share > HIGH else ""
        logger.info("waiting for data: %.0f %% of the training time%s%s", 100 * share, gpu, advice)

    def _start(self, trainer: Trainer) -> None:
        loader = trainer.train_dataloader
        self._loader = loader if isinstance(loader, TrainingLoader) else None
        if self._loader is not None:
            self._loader.clock = self.clock
        self._start_gap(None)

    def _start_gap(self, ended: torch.cuda.Event | None) -> None:
        self._mark, self._ended = self.clock(), ended
        self._waited_before = 0.0 if self._loader is None else self._loader.waited

    def _count_gaps(self) -> None:
        """Add the gaps that the GPU is past. It is not waited for."""
        while self._gaps and (self._gaps[0].started is None or self._gaps[0].started.query()):
            gap = self._gaps.popleft()
            idle = float("inf") if gap.ended is None or gap.started is None else gap.ended.elapsed_time(gap.started)
            self._waited += min(gap.waited, idle / 1000)


def _advice(workers: int) -> str:
    return (
        f"raise data.num_workers (now {workers}; {os.cpu_count()} cores), make the image files smaller, "
        "or pack them with `visionkit data pack`"
    )


def _recorded() -> torch.cuda.Event:
    """Return an event at the end of the work that the GPU has been given."""
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _utilization(device: torch.device) -> list[float]:
    """Return the GPU's utilization, 0..1; nothing without the package nvidia-ml-py or where the GPU does not tell."""
    try:
        return [torch.cuda.utilization(device) / 100]
    except Exception:  # the errors of that package have no base that torch names
        return []
