"""A task whose backbone is unfrozen in steps, and a callback that records what is trained."""

import torch
from lightning.pytorch.callbacks import Callback

from tests.helpers.small_classifier import small_classification
from visionkit.backbones import create_backbone
from visionkit.engine.unfreeze import UnfreezeStep
from visionkit.models import create_model
from visionkit.tasks import OptimizerOptions, ScheduleOptions

STEPS = [UnfreezeStep(1, 2), UnfreezeStep(2, 0)]
"""For cifar_resnet20, which has three stages."""
PARTS = ["s1", "s2", "s4", "head"]


def task_to_transfer(class_names, frozen_stages="all", optimizer="adam", decay=0.5, schedule=None):
    torch.manual_seed(0)
    backbone = create_backbone("cifar_resnet20", weights="checkpoint", batch_norm="eval", frozen_stages=frozen_stages)
    return small_classification(
        class_names,
        create_model("classifier", backbone, len(class_names)),
        optimizer=OptimizerOptions(optimizer, lr=0.01, scale_lr=False, weight_decay=0.1, stage_lr_decay=decay),
        schedule=schedule or ScheduleOptions(name="cosine", warmup_steps=0),
    )


class Watch(Callback):
    """Parts that each optimizer step changed, and their learning rates."""

    def __init__(self):
        self.moved, self.lrs = [], []

    def on_train_start(self, trainer, pl_module):
        optimizer = trainer.optimizers[0]
        lrs = lambda optimizer, *_: self.lrs.append({g["part"]: g["lr"] for g in optimizer.param_groups})  # noqa: E731
        optimizer.register_step_pre_hook(lrs)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.before = {name: value.clone() for name, value in pl_module.named_parameters()}

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        moved = {name for name, value in pl_module.named_parameters() if not torch.equal(value, self.before[name])}
        self.moved.append([part for part in PARTS if any(f"{part}." in name or f"{part}_" in name for name in moved)])
