"""Staged unfreezing: the head learns first, then the backbone from its deepest stage down.

Lightning's BackboneFinetuning is no base for it: it adds parameter groups to the optimizer in the middle of a run,
which no learning-rate schedule moves, knows a backbone only as a whole, and thaws BatchNorm layers against their
policy. Here the optimizer holds from the start all that will ever train, passes over what has no gradient yet, and a
resumed run finds the groups that it left.
"""

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch.optim import Optimizer

from visionkit.backbones import Backbone
from visionkit.errors import ConfigError

logger = logging.getLogger("visionkit")


@dataclass
class UnfreezeStep:
    """One step of staged unfreezing (Howard & Ruder 2018, section 3.3).

    Attributes:
        epoch: the first one of the step; epochs count from 0.
        frozen_stages: how many of the backbone's first stages stay fixed from then on.
        warmup_steps: optimizer steps over which the rate of what begins to train rises to its schedule's.
    """

    epoch: int
    frozen_stages: int
    warmup_steps: int = 0


class StagedUnfreezing(Callback):
    """Lets more of the backbone train as the run goes on.

    Args:
        steps: in the order of their epochs, each with fewer frozen stages than the one before.

    Raises:
        ConfigError: the steps contradict each other; from `setup` where the backbone has nothing to unfreeze, or the
            processes would not look for parameters that take no part.
    """

    def __init__(self, steps: Sequence[UnfreezeStep]) -> None:
        self.steps = list(steps)
        self.frozen_at_first = 0
        self.began: dict[str, int] = {}
        """Optimizer step at which each stage that was unfrozen began to train."""
        self._warmup: dict[str, int] = {}
        _refuse_wrong_order(self.steps)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Unfreeze all that will ever train: right after this the optimizer is made, of what trains then."""
        backbone: Backbone = pl_module.backbone  # type: ignore[assignment]
        if backbone.is_randomly_initialized and not backbone.frozen_stages:
            logger.warning("unfreeze: %s has random values, and all of it trains from the start", backbone.name)
            self.steps = []
        if stage != "fit" or not self.steps:
            return
        self.frozen_at_first = backbone.frozen_stages
        if self.steps[0].frozen_stages >= self.frozen_at_first:
            raise ConfigError(
                f"unfreeze: {self.frozen_at_first} stages are frozen at first, which "
                f"frozen_stages={self.steps[0].frozen_stages} does not unfreeze\n"
                "set model.backbone.frozen_stages: all, or a larger number"
            )
        _refuse_blind_processes(trainer)
        backbone.freeze(self.steps[-1].frozen_stages)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Freeze what does not train yet, now that the optimizer is made."""
        if self.steps:
            pl_module.backbone.freeze(self._step_of(0)[0])  # type: ignore[operator, union-attr]
            warming = _Warming(self, trainer)
            for optimizer in trainer.optimizers:
                optimizer.register_step_pre_hook(warming.lower)
                optimizer.register_step_post_hook(warming.restore)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Unfreeze what trained when the checkpoint was written, also in the middle of an epoch."""
        self._unfreeze(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Unfreeze what this epoch is the first for."""
        self._unfreeze(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """Since when what trains, for warm-ups that are not over yet."""
        return {"began": dict(self.began)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the warm-ups of the run that is resumed."""
        self.began = dict(state_dict["began"])

    def share_of_rate(self, part: str | None, step: int) -> float:
        """Share of its rate that a part of the network ("s32") has at an optimizer step."""
        if part not in self.began:
            return 1.0
        return min((step - self.began[part] + 1) / max(self._warmup.get(part, 0), 1), 1.0)

    def _unfreeze(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.steps:
            return
        backbone: Backbone = pl_module.backbone  # type: ignore[assignment]
        frozen, begun = self._step_of(trainer.current_epoch)
        self._warmup = self._warmup_steps(list(backbone.computed))
        for stage in list(backbone.computed)[frozen : self.frozen_at_first]:
            self.began.setdefault(stage, trainer.global_step)
        if frozen != backbone.frozen_stages:
            backbone.freeze(frozen)
            logger.info("epoch %d: %d stages of the backbone are frozen from now on", begun, frozen)

    def _step_of(self, epoch: int) -> tuple[int, int]:
        """Frozen stages in an epoch, and the epoch since which."""
        past = [(step.frozen_stages, step.epoch) for step in self.steps if step.epoch <= epoch]
        return past[-1] if past else (self.frozen_at_first, 0)

    def _warmup_steps(self, stages: list[str]) -> dict[str, int]:
        """Warm-up of each stage: that of the step which unfreezes it."""
        bounds = [self.frozen_at_first, *(step.frozen_stages for step in self.steps)]
        return {
            stage: step.warmup_steps
            for step, above in zip(self.steps, bounds, strict=False)
            for stage in stages[step.frozen_stages : above]
        }


class _Warming:
    """Lowers rates for the length of one optimizer step, so that any schedule may go by the rates it has set."""

    def __init__(self, unfreezing: StagedUnfreezing, trainer: Trainer) -> None:
        self.unfreezing, self.trainer = unfreezing, trainer
        self.rates: list[Any] = []

    def lower(self, optimizer: Optimizer, *_: Any) -> None:
        """Before the step."""
        self.rates = [group["lr"] for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * self.unfreezing.share_of_rate(group.get("part"), self.trainer.global_step)

    def restore(self, optimizer: Optimizer, *_: Any) -> None:
        """After the step."""
        for group, rate in zip(optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate


def _refuse_wrong_order(steps: list[UnfreezeStep]) -> None:
    for before, after in itertools.pairwise(steps):
        if after.epoch <= before.epoch or after.frozen_stages >= before.frozen_stages:
            raise ConfigError(
                "unfreeze: epochs must rise and frozen_stages fall from step to step, not "
                f"epoch {before.epoch}: {before.frozen_stages} and then epoch {after.epoch}: {after.frozen_stages}"
            )


def _refuse_blind_processes(trainer: Trainer) -> None:
    """Several processes wait for the gradients of all that the optimizer holds, unless they are told to look."""
    views = getattr(trainer.strategy, "_ddp_kwargs", {}).get("find_unused_parameters", False)
    if trainer.world_size > 1 and not views:
        raise ConfigError("unfreeze with several processes needs trainer.strategy=ddp_find_unused_parameters_true")
