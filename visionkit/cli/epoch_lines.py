"""Progress of training where the output is no terminal, such as the log of a batch job: a line per epoch."""

import logging
import math
import time
from collections.abc import Callable

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from visionkit.tasks import Task

logger = logging.getLogger("visionkit")

LEAST_SECONDS = 1.0
"""Shortest time between two lines. Epochs on features that are kept take a fraction of it."""


class EpochLines(Callback):
    """Callback that logs a line after an epoch: the loss, the main metric, and the time that is over and left.

    Args:
        clock: returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._start, self._first_epoch, self._last_line = 0.0, 0, -math.inf

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Store the start, from which the time of an epoch follows."""
        self._start, self._first_epoch = self.clock(), trainer.current_epoch

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log a line. Every process computes the loss, and only the first one writes."""
        now, ended = self.clock(), trainer.current_epoch + 1
        is_last = trainer.should_stop or ended == trainer.max_epochs
        if not isinstance(pl_module, Task) or not (is_last or now - self._last_line >= LEAST_SECONDS):
            return
        self._last_line = now
        loss = pl_module.train_losses.compute().get("loss", math.nan)
        metric = trainer.callback_metrics.get(pl_module.monitor)
        scored = "" if metric is None else f", {pl_module.monitor} {float(metric):.4f}"
        if trainer.is_global_zero:
            taken = now - self._start
            left = taken / (ended - self._first_epoch) * (_epochs(trainer) - ended)
            rest = f", {in_words(left)} left" if 0 < left < math.inf else ""
            of_all = f"/{_epochs(trainer)}" if _epochs(trainer) < math.inf else ""
            logger.info("epoch %d%s: loss %.4g%s; %s%s", ended, of_all, loss, scored, in_words(taken), rest)


def _epochs(trainer: Trainer) -> float:
    """Return the number of epochs of a run; infinite if it ends in another way."""
    epochs = trainer.max_epochs
    if epochs is None or epochs < 0:
        steps, of_epoch = trainer.max_steps, trainer.num_training_batches / trainer.accumulate_grad_batches
        return math.ceil(steps / of_epoch) if steps > 0 else math.inf
    return epochs


def in_words(seconds: float) -> str:
    """Return a duration in hours, minutes and seconds.

    Example:
        >>> from visionkit.cli.epoch_lines import in_words
        >>> in_words(8), in_words(75), in_words(7265)
        ('8 s', '1 min 15 s', '2 h 1 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
