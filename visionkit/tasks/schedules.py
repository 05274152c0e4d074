"""Learning rate schedules by their names in recipes."""

import dataclasses
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LinearLR, ReduceLROnPlateau

from visionkit.errors import ConfigError
from visionkit.option_checks import check_above, check_above_up_to, check_at_least, check_below, check_within
from visionkit.registry import Registry

logger = logging.getLogger("visionkit")


@dataclass
class ScheduleOptions:
    """Learning rate schedule.

    Attributes:
        name: multistep, exponential, poly, cosine, constant, plateau, or a schedule that a plugin registers.
        warmup_steps: number of optimizer steps of warmup, at most a tenth of the run.
        warmup_factor: factor on the learning rate at the first step of the warmup.
        warmup_power: exponent of the share of the warmup that is over: 1 is linear; darknet's burn-in has 4, and a
            `warmup_factor` of 0. Not for plateau.
        milestones: epochs after which multistep multiplies the learning rate by `gamma`.
        gamma: factor of multistep and plateau; exponential multiplies the learning rate by it after every epoch.
        power: exponent of the remaining share of the run, for poly (Chen et al. 2016, section 4.1.1: 0.9).
        final_factor: factor on the learning rate at the end of cosine.
        patience: number of evaluations without a better main metric before plateau lowers the learning rate.
        min_steps: smallest number of optimizer steps of `visionkit fit`. With few images it raises the number of epochs
            of a recipe, with milestones in proportion; see `lengthen`.

    Raises:
        ConfigError: the schedule is unknown, a number is out of its range, or an option has no effect on the schedule.

    Example:
        >>> import visionkit as vk
        >>> vk.ScheduleOptions(name="cosine", warmup_steps=100).name
        'cosine'
    """

    name: str = "multistep"
    warmup_steps: int = 500
    warmup_factor: float = 0.001
    warmup_power: float = 1.0
    milestones: list[float] = field(default_factory=lambda: [8, 11])
    gamma: float = 0.1
    power: float = 0.9
    final_factor: float = 0.0
    patience: int = 3
    min_steps: int = 0

    def __post_init__(self) -> None:
        if self.name != PLATEAU:
            schedules.get(self.name)
        check_at_least(0, warmup_steps=self.warmup_steps, milestones=self.milestones, power=self.power)
        check_at_least(0, patience=self.patience, min_steps=self.min_steps)
        check_within(0, 1, final_factor=self.final_factor)
        check_above(0, gamma=self.gamma, warmup_power=self.warmup_power)
        if self.name == PLATEAU:
            check_above_up_to(0, 1, warmup_factor=self.warmup_factor)
            check_below(0, 1, gamma=self.gamma)
            if self.warmup_power != 1:
                raise ConfigError(f"warmup_power={self.warmup_power}: the warmup of plateau is linear")
        check_within(0, 1, warmup_factor=self.warmup_factor)


LONGEST_WARMUP = 0.1
"""Largest share of the optimizer steps that are warmup."""

PLATEAU = "plateau"
"""Name of the schedule that depends on the main metric. The other schedules are factors by step."""


ScheduleFactor = Callable[[ScheduleOptions, float, int], float]
schedules: Registry[ScheduleFactor] = Registry("schedule")
"""Functions of the options, the fractional epoch and the number of epochs that return a factor on the learning rate."""

register_schedule = schedules.register


@schedules.register("multistep")
def _multistep(options: ScheduleOptions, epoch: float, epochs: int) -> float:
    return options.gamma ** sum(epoch >= milestone for milestone in options.milestones)


@schedules.register("exponential")
def _exponential(options: ScheduleOptions, epoch: float, epochs: int) -> float:
    return options.gamma ** int(epoch)


@schedules.register("poly")
def _poly(options: ScheduleOptions, epoch: float, epochs: int) -> float:
    return float(max(1 - epoch / epochs, 0.0) ** options.power)


@schedules.register("cosine")
def _cosine(options: ScheduleOptions, epoch: float, epochs: int) -> float:
    wave = 0.5 * (1 + math.cos(math.pi * min(epoch / epochs, 1.0)))
    return options.final_factor + (1 - options.final_factor) * wave


@schedules.register("constant")
def _constant(options: ScheduleOptions, epoch: float, epochs: int) -> float:
    return 1.0


def make_scheduler(
    optimizer: Optimizer, options: ScheduleOptions, steps: int, epochs: int, monitor: str
) -> list[dict[str, Any]]:
    """Return Lightning's scheduler configurations for one optimizer.

    Args:
        optimizer: optimizer whose learning rates are scheduled.
        options: schedule options of the recipe.
        steps: number of optimizer steps of the run.
        epochs: number of epochs of the run.
        monitor: name under which the main metric for plateau is logged (higher is better).
    """
    options = _with_short_warmup(options, steps)
    if options.name == PLATEAU:
        return _plateau(optimizer, options, monitor)
    if options.name == "multistep" and any(milestone >= epochs for milestone in options.milestones):
        logger.warning("schedule.milestones %s are not all reached in %d epochs", options.milestones, epochs)
    factor = schedules.get(options.name)

    def at(step: int) -> float:
        rise = min(step / max(options.warmup_steps, 1), 1.0)
        return _warmup(options, rise) * factor(options, step * epochs / max(steps, 1), epochs)

    return [{"scheduler": LambdaLR(optimizer, at), "interval": "step"}]


class TimedSchedule(NamedTuple):
    """Share of a run that is over, 0..1, and the number of epochs for which its milestones are given."""

    progress: Callable[[], float]
    epochs: int


def make_timed_scheduler(
    optimizer: Optimizer, options: ScheduleOptions, timed: TimedSchedule, monitor: str
) -> list[dict[str, Any]]:
    """Return Lightning's scheduler configurations for a run whose length is given as a time.

    The learning rate is that of `make_scheduler` at the same share of the run. The warmup ends after its steps, or when
    a tenth of the run is over.

    Args:
        optimizer: optimizer whose learning rates are scheduled.
        options: schedule options of the recipe.
        timed: share of the run that is over.
        monitor: name under which the main metric for plateau is logged (higher is better).
    """
    if options.name == PLATEAU:
        return _plateau(optimizer, options, monitor)
    factor = schedules.get(options.name)

    def at(step: int) -> float:
        progress = timed.progress()
        rise = min(max(step / max(options.warmup_steps, 1), progress / LONGEST_WARMUP), 1.0)
        return _warmup(options, rise) * factor(options, progress * timed.epochs, timed.epochs)

    return [{"scheduler": LambdaLR(optimizer, at), "interval": "step"}]


def _warmup(options: ScheduleOptions, rise: float) -> float:
    """Return the factor of the warmup, of which the share `rise` is over."""
    if not options.warmup_steps:
        return 1.0
    return options.warmup_factor + (1 - options.warmup_factor) * rise**options.warmup_power


def _with_short_warmup(options: ScheduleOptions, steps: int) -> ScheduleOptions:
    """Return the options with a warmup of at most a tenth of the run, so that a short run also trains after it."""
    longest = int(steps * LONGEST_WARMUP)
    if steps < 1 or options.warmup_steps <= longest:
        return options
    logger.info("warmup of %d steps, not %d: a tenth of the %d steps", longest, options.warmup_steps, steps)
    return dataclasses.replace(options, warmup_steps=longest)


def _plateau(optimizer: Optimizer, options: ScheduleOptions, monitor: str) -> list[dict[str, Any]]:
    plateau = ReduceLROnPlateau(optimizer, mode="max", factor=options.gamma, patience=options.patience)
    configs: list[dict[str, Any]] = [{"scheduler": plateau, "interval": "epoch", "monitor": monitor}]
    if options.warmup_steps:
        warmup = LinearLR(optimizer, options.warmup_factor, total_iters=options.warmup_steps)
        configs.append({"scheduler": warmup, "interval": "step"})
    return configs
