"""Training for a given time, with a learning rate schedule that ends when the time does."""

import logging
import math
import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from visionkit.option_checks import check_above
from visionkit.tasks.base import Task, datamodule_of
from visionkit.tasks.schedules import TimedSchedule

logger = logging.getLogger("visionkit")

VALIDATION_SHARE = 0.1
"""Largest share of the time for validations."""

MOST_VALIDATIONS = 10
"""Largest number of validations. The last one follows the last step."""

MEASURED_BATCHES = 5
"""Number of batches after which the length of an epoch is estimated. The first is left out, since it is slower."""

LEAST_STEPS = 50
"""Number of optimizer steps below which a warning is logged: they change a network too little."""

FEATURE_EPOCHS = 3
"""Number of times that the epochs, or the least steps, of the recipe are trained on features that are computed once."""


class TimeBudget(Callback):
    """Callback that ends training so that the last validation ends when the time is over.

    On features that are computed once, epochs take next to no time. Such a run ends after `FEATURE_EPOCHS` times the
    recipe's epochs, if that is earlier.

    The learning rate follows the share of the time that is over instead of the share of the steps, so that its schedule
    is complete, however fast the machine is. All processes follow the clock of the first one.

    Args:
        seconds: time for training and validations, from now on.

    Attributes:
        last_validations: number of validations after the last step.

    Raises:
        ConfigError: the time is not positive.

    Example:
        >>> from visionkit.engine.time_budget import TimeBudget
        >>> TimeBudget(600.0).progress
        0.0
    """

    def __init__(self, seconds: float) -> None:
        check_above(0, seconds=seconds)
        self.seconds, self.progress = seconds, 0.0
        self.last_validations = 1
        self._start = time.monotonic()
        self._validation, self._validation_start, self._first_scored = 0.0, 0.0, 0.0
        self._first_batch_end, self._validated = 0.0, 0.0
        self._batches, self._most_steps = 0, math.inf
        self._epochs = 1
        self._is_over = False

    @property
    def remaining(self) -> float:
        """Seconds that remain; 0 if the time is over."""
        return max(self.seconds - (time.monotonic() - self._start), 0.0)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let the schedule of the task follow the time, before it is created."""
        self._epochs = max(trainer.max_epochs or 1, 1)
        if isinstance(pl_module, Task):
            pl_module.timed_schedule = TimedSchedule(lambda: self.progress, self._epochs)
        trainer.fit_loop.max_epochs = -1  # the time alone ends the run

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Limit the number of steps if features are computed once, and continue the schedule of a resumed run."""
        data = datamodule_of(trainer)
        if data is not None and data.cached_features and isinstance(pl_module, Task):
            steps = self._epochs * _steps_of_epoch(trainer)
            self._most_steps = FEATURE_EPOCHS * max(steps, pl_module.schedule_options.min_steps)
        self._update_progress(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start to measure a validation."""
        self._validation_start = time.monotonic()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Store the end of the first batch, which is slower than the others."""
        if batch_idx == 0:
            self._first_scored = time.monotonic()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Store the time of a validation; that of a sanity check stands for all batches."""
        now = time.monotonic()
        taken = now - self._validation_start
        self._validated += taken
        if trainer.sanity_checking:
            checked = sum(trainer.num_sanity_val_batches)
            batch = (now - self._first_scored) / (checked - 1) if checked > 1 else taken
            taken += batch * (sum(trainer.num_val_batches) - checked)
        self._validation = max(taken, 0.5 * self._validation)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop if only the time of the last validations remains."""
        now = time.monotonic()
        if self._batches == 0:
            self._first_batch_end, self._validated = now, 0.0
        if self._batches == MEASURED_BATCHES:
            self._plan(trainer, (now - self._first_batch_end - self._validated) / MEASURED_BATCHES)
        self._batches += 1
        self._update_progress(trainer)
        if self.progress >= 1.0 and not self._is_over:
            self._is_over = True
            trainer.check_val_every_n_epoch = 1  # the last validation follows this step
            trainer.should_stop = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Warn if the time was over before the number of steps could be planned."""
        if self._batches <= MEASURED_BATCHES:
            self._warn_of_few_steps(trainer.global_step)

    def _update_progress(self, trainer: Trainer) -> None:
        training = max(self.seconds - self.last_validations * self._validation, 1e-3)
        over = max((time.monotonic() - self._start) / training, trainer.global_step / self._most_steps)
        self.progress = min(float(trainer.strategy.broadcast(over)), 1.0)

    def _warn_of_few_steps(self, steps: int) -> None:
        if steps < LEAST_STEPS:
            logger.warning(
                "%.1f minutes are enough for only about %d optimizer steps, too few to train a network: give more time",
                self.seconds / 60,
                steps,
            )

    def _plan(self, trainer: Trainer, batch: float) -> None:
        """Set the number of epochs between validations, given the seconds that a training batch takes."""
        epoch = trainer.strategy.broadcast(batch * float(trainer.num_training_batches))
        validation = trainer.strategy.broadcast(self._validation)
        step = max(batch * trainer.accumulate_grad_batches, 1e-6)
        remaining = min(self.remaining, (self._most_steps - trainer.global_step) * step)
        between = max(validation / VALIDATION_SHARE, remaining / MOST_VALIDATIONS)
        every = trainer.strategy.broadcast(max(round(between / max(epoch, 1e-6)), 1))
        if trainer.check_val_every_n_epoch is None:  # validations follow batches, counted over all epochs
            trainer.val_check_batch = every * int(trainer.num_training_batches)
        else:
            trainer.check_val_every_n_epoch = every
        training = max(remaining - validation, 0)
        logger.info(
            "%.1f minutes: about %d epochs of %d steps, a validation every %d; a step takes %.2f s, a validation %.0f",
            self.seconds / 60,
            training / max(epoch, 1e-6),
            _steps_of_epoch(trainer),
            every,
            step,
            validation,
        )
        self._warn_of_few_steps(trainer.global_step + int(training / step))

    def state_dict(self) -> dict[str, Any]:
        """Return the time that is over and that of a validation, so that a resumed run continues with the rest."""
        return {"used": time.monotonic() - self._start, "validation": self._validation}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue with the rest of the time."""
        self._start -= state_dict["used"]
        self._validation = state_dict["validation"]


def _steps_of_epoch(trainer: Trainer) -> int:
    """Return the number of optimizer steps of an epoch."""
    return math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
