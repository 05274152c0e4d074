"""Staged unfreezing: the head is trained first, then the stages of the backbone, starting with the deepest.

Lightning's BackboneFinetuning is not suitable for three reasons. It adds parameter groups to the optimizer during the
run, which the learning rate schedule does not include. It treats the backbone as a whole. It unfreezes BatchNorm layers
that should stay frozen. Here the optimizer has all parameters from the start, and skips those without gradients. A
resumed run has the same parameter groups.
"""

import dataclasses
import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy
from torch.optim import Optimizer

from visionkit.backbones import Backbone
from visionkit.errors import ConfigError
from visionkit.option_checks import check_at_least
from visionkit.tasks.base import Task

logger = logging.getLogger("visionkit")


@dataclass
class UnfreezeStep:
    """One step of staged unfreezing (Howard & Ruder 2018, section 3.3).

    Attributes:
        epoch: first epoch of the step, counted from 0.
        frozen_stages: number of first stages of the backbone that stay frozen in this step.
        warmup_steps: number of optimizer steps of linear warmup for the learning rate of newly trained stages.

    Raises:
        ConfigError: a number is below 0.

    Example:
        >>> import visionkit as vk
        >>> steps = [vk.UnfreezeStep(epoch=2, frozen_stages=3), vk.UnfreezeStep(epoch=4, frozen_stages=0)]
        >>> callbacks = vk.make_callbacks("run", "val/accuracy", unfreeze=steps)
        >>> "StagedUnfreezing" in [type(callback).__name__ for callback in callbacks]
        True
    """

    epoch: int
    frozen_stages: int
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        check_at_least(0, epoch=self.epoch, frozen_stages=self.frozen_stages, warmup_steps=self.warmup_steps)


class StagedUnfreezing(Callback):
    """Callback that trains more stages of the backbone in later epochs.

    Args:
        steps: steps in order of their epoch, each with fewer frozen stages than the previous step.

    Attributes:
        first_steps: optimizer step at which the training of each unfrozen stage began.

    Raises:
        ConfigError: the steps are inconsistent. `setup` also raises it if the backbone has nothing to unfreeze, or if
            several processes would wait for gradients of frozen parameters.
    """

    def __init__(self, steps: Sequence[UnfreezeStep]) -> None:
        self.steps = list(steps)
        self.initially_frozen = 0
        self.first_steps: dict[str, int] = {}
        self._warmup_steps: dict[str, int] = {}
        _check_order(self.steps)

    def lengthen(self, factor: float) -> None:
        """Multiply the epochs of the steps, for a run whose number of epochs is multiplied."""
        self.steps = [dataclasses.replace(step, epoch=int(step.epoch * factor)) for step in self.steps]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Unfreeze all stages that will be trained, because the optimizer is created next from trainable parameters."""
        backbone = _backbone_of(pl_module)
        for step in self.steps:
            if step.frozen_stages > len(backbone.computed):
                stages = f"{backbone.name} has {len(backbone.computed)} stages"
                raise ConfigError(f"unfreeze: frozen_stages={step.frozen_stages} of epoch {step.epoch}, but {stages}")
        if backbone.is_randomly_initialized and not backbone.frozen_stages:
            logger.warning("unfreeze: %s is randomly initialized; all of it is trained from the start", backbone.name)
            self.steps = []
        if stage != "fit" or not self.steps:
            return
        self.initially_frozen = backbone.frozen_stages
        if self.steps[0].frozen_stages >= self.initially_frozen:
            raise ConfigError(
                f"unfreeze: {self.initially_frozen} stages are frozen at first, which "
                f"frozen_stages={self.steps[0].frozen_stages} does not unfreeze\n"
                "set model.backbone.frozen_stages: all, or a larger number"
            )
        _check_strategy(trainer)
        backbone.freeze(self.steps[-1].frozen_stages)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Freeze the stages that are not trained yet, after the optimizer has been created."""
        if self.steps:
            _backbone_of(pl_module).freeze(self._step_of(0)[0])
            warmup = _WarmupHooks(self, trainer)
            for optimizer in trainer.optimizers:
                optimizer.register_step_pre_hook(warmup.scale)
                optimizer.register_step_post_hook(warmup.restore)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Unfreeze the stages that were trained when the checkpoint was written, also within an epoch."""
        self._unfreeze(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Unfreeze the stages of this epoch."""
        self._unfreeze(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """Return the step at which training of each stage began, so that a resumed run continues warmups."""
        return {"began": dict(self.first_steps)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the warmups of the resumed run."""
        self.first_steps = dict(state_dict["began"])

    def lr_factor(self, part: str | None, step: int) -> float:
        """Return the warmup factor on the learning rate of a part of the network ("s32") at an optimizer step."""
        if part not in self.first_steps:
            return 1.0
        return min((step - self.first_steps[part] + 1) / max(self._warmup_steps.get(part, 0), 1), 1.0)

    def _unfreeze(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.steps:
            return
        backbone = _backbone_of(pl_module)
        stages = list(backbone.computed)
        frozen, epoch = self._step_of(trainer.current_epoch)
        self._warmup_steps = self._warmup_per_stage(stages)
        for stage in stages[frozen : self.initially_frozen]:
            self.first_steps.setdefault(stage, trainer.global_step)
        if frozen != backbone.frozen_stages:
            backbone.freeze(frozen)
            logger.info("epoch %d: %d stages of the backbone are frozen from now on", epoch, frozen)

    def _step_of(self, epoch: int) -> tuple[int, int]:
        """Return the number of frozen stages in an epoch, and the first epoch with this number."""
        past = [(step.frozen_stages, step.epoch) for step in self.steps if step.epoch <= epoch]
        return past[-1] if past else (self.initially_frozen, 0)

    def _warmup_per_stage(self, stages: list[str]) -> dict[str, int]:
        """Return the number of warmup steps of each stage, which is that of the step that unfreezes the stage."""
        bounds = [self.initially_frozen, *(step.frozen_stages for step in self.steps)]
        return {
            stage: step.warmup_steps
            for step, above in zip(self.steps, bounds, strict=False)
            for stage in stages[step.frozen_stages : above]
        }


class _WarmupHooks:
    """Optimizer hooks that scale learning rates only during a step, so that schedules use unscaled learning rates."""

    def __init__(self, unfreezing: StagedUnfreezing, trainer: Trainer) -> None:
        self.unfreezing, self.trainer = unfreezing, trainer
        self.lrs: list[Any] = []

    def scale(self, optimizer: Optimizer, *_: Any) -> None:
        """Apply the warmup factors before the step."""
        self.lrs = [group["lr"] for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * self.unfreezing.lr_factor(group.get("part"), self.trainer.global_step)

    def restore(self, optimizer: Optimizer, *_: Any) -> None:
        """Restore the learning rates after the step."""
        for group, lr in zip(optimizer.param_groups, self.lrs, strict=True):
            group["lr"] = lr


def _backbone_of(module: LightningModule) -> Backbone:
    assert isinstance(module, Task)
    return module.backbone


def _check_order(steps: list[UnfreezeStep]) -> None:
    for before, after in itertools.pairwise(steps):
        if after.epoch <= before.epoch or after.frozen_stages >= before.frozen_stages:
            raise ConfigError(
                "unfreeze: each step needs a later epoch and fewer frozen_stages than the step before it, not "
                f"epoch {before.epoch}: {before.frozen_stages} and then epoch {after.epoch}: {after.frozen_stages}"
            )


def _check_strategy(trainer: Trainer) -> None:
    """Raise ConfigError if several processes would wait for the gradients of frozen parameters."""
    strategy = trainer.strategy
    finds_unused = isinstance(strategy, DDPStrategy) and strategy._ddp_kwargs.get("find_unused_parameters", False)
    if trainer.world_size > 1 and not finds_unused:
        raise ConfigError("unfreeze with several processes needs trainer.strategy=ddp_find_unused_parameters_true")
