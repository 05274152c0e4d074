import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy

from tests.tasks.small import small_trainer
from tests.tasks.small_classifier import small_classification, small_images
from visionkit.backbones import create_backbone
from visionkit.engine.unfreeze import StagedUnfreezing, UnfreezeStep
from visionkit.errors import ConfigError
from visionkit.models import create_model
from visionkit.tasks import OptimizerOptions, ScheduleOptions, Task

STEPS = [UnfreezeStep(1, 2), UnfreezeStep(2, 0)]
"""cifar_resnet20 has three stages, and the data below two steps an epoch."""
PARTS = ["s1", "s2", "s4", "head"]


def task_to_transfer(class_names, frozen_stages="all", optimizer="adam", decay=0.5, schedule=None):
    torch.manual_seed(0)
    backbone = create_backbone("cifar_resnet20", weights="checkpoint", norm="eval", frozen_stages=frozen_stages)
    return small_classification(
        class_names,
        create_model("classifier", backbone, len(class_names)),
        optimizer=OptimizerOptions(optimizer, lr=0.01, scale_lr=False, weight_decay=0.1, stage_lr_decay=decay),
        schedule=schedule or ScheduleOptions(name="cosine", warmup_steps=0),
    )


class Watch(Callback):
    """Which parts each step has moved, and the rates it moved them with."""

    def __init__(self):
        self.moved, self.rates = [], []

    def on_train_start(self, trainer, pl_module):
        optimizer = trainer.optimizers[0]
        rates = lambda optimizer, *_: self.rates.append({g["part"]: g["lr"] for g in optimizer.param_groups})  # noqa: E731
        optimizer.register_step_pre_hook(rates)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.before = {name: value.clone() for name, value in pl_module.named_parameters()}

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        moved = {name for name, value in pl_module.named_parameters() if not torch.equal(value, self.before[name])}
        self.moved.append([part for part in PARTS if any(f"{part}." in name or f"{part}_" in name for name in moved)])


def train(steps, *, epochs=3, more=(), fit=None, **options):
    data = small_images(train=8, val=4)
    task, watch = task_to_transfer(data.class_names, **options), Watch()
    callbacks = [StagedUnfreezing(steps), watch, *more]
    trainer = small_trainer(max_epochs=epochs, callbacks=callbacks, enable_checkpointing=bool(more))
    trainer.fit(task, data, **(fit or {}))
    return task, watch, trainer


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_stages_begin_to_learn_in_their_epochs(optimizer):
    task, watch, _ = train(STEPS, optimizer=optimizer)
    assert watch.moved == [["head"]] * 2 + [["s4", "head"]] * 2 + [PARTS] * 2
    assert task.backbone.frozen_stages == 0
    assert all(layer.training for layer in task.network.head.modules())


def test_what_is_unfrozen_takes_its_stage_s_rate_at_the_schedule_s_place():
    _, watch, _ = train(STEPS)
    shares = [0.125, 0.25, 0.5, 1.0]
    for rates in watch.rates:
        assert [rates[part] / rates["head"] for part in PARTS] == pytest.approx(shares)
    assert [rates["head"] for rates in watch.rates] == sorted([rates["head"] for rates in watch.rates], reverse=True)


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_a_warm_up_raises_the_rate_of_what_is_new_alone(schedule):
    steps = [UnfreezeStep(1, 2, warmup_steps=4), UnfreezeStep(2, 0, warmup_steps=2)]
    _, watch, trainer = train(steps, decay=1.0, schedule=ScheduleOptions(name=schedule, warmup_steps=0, patience=9))
    shares = {part: [rates[part] / rates["head"] for rates in watch.rates] for part in PARTS}
    assert shares["s4"] == pytest.approx([1, 1, 0.25, 0.5, 0.75, 1])
    assert shares["s1"] == shares["s2"] == pytest.approx([1, 1, 1, 1, 0.5, 1])
    assert trainer.optimizers[0].param_groups[0]["lr"] == trainer.optimizers[0].param_groups[-1]["lr"]


@pytest.mark.parametrize("stop", [1, 2, 3, 4, 5])
def test_a_run_resumed_anywhere_goes_on_as_the_whole_one(stop, tmp_path):
    steps = [UnfreezeStep(1, 2, warmup_steps=3), UnfreezeStep(2, 0)]
    keep = ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1, every_n_train_steps=1)
    _, whole, trainer = train(steps, more=[keep])
    path = tmp_path / f"step={stop}.ckpt"
    groups = len(torch.load(path, weights_only=True)["optimizer_states"][0]["param_groups"])
    assert groups == len(trainer.optimizers[0].param_groups)
    _, resumed, _ = train(steps, fit={"ckpt_path": path, "weights_only": True})
    assert resumed.moved == whole.moved[stop:]
    assert [list(rates.values()) for rates in resumed.rates] == [
        pytest.approx(list(rates.values())) for rates in whole.rates[stop:]
    ]


def test_the_checkpoint_says_what_was_frozen_and_can_be_loaded(tmp_path):
    keep = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
    train(STEPS, more=[keep])
    assert [
        Task.load_from_checkpoint(tmp_path / f"epoch={epoch}.ckpt").backbone.frozen_stages for epoch in range(3)
    ] == [3, 2, 0]


@pytest.mark.parametrize(
    ("steps", "frozen", "message"),
    [
        ([UnfreezeStep(2, 1), UnfreezeStep(1, 0)], "all", "epochs must rise"),
        ([UnfreezeStep(1, 1), UnfreezeStep(2, 2)], "all", "frozen_stages fall"),
        ([UnfreezeStep(1, 2)], 2, "2 stages are frozen at first"),
        ([UnfreezeStep(1, 0)], 0, "set model.backbone.frozen_stages"),
        ([UnfreezeStep(1, -1)], "all", "frozen_stages=-1"),
    ],
)
def test_steps_that_unfreeze_nothing_are_refused(steps, frozen, message):
    with pytest.raises(ConfigError, match=message):
        train(steps, frozen_stages=frozen)


def test_random_values_train_from_the_start(caplog):
    data = small_images()
    trainer = small_trainer(callbacks=[StagedUnfreezing(STEPS)])
    trainer.fit(small_classification(data.class_names), data)
    assert "has random values, and all of it trains" in caplog.text


TWO_PROCESSES = """
import sys, torch
from tests.engine.test_unfreeze import STEPS, Watch, task_to_transfer
from tests.tasks.small import small_trainer
from tests.tasks.small_classifier import small_images
from visionkit.engine.unfreeze import StagedUnfreezing

torch.set_num_threads(1)
data = small_images(train=16, val=4)
task, watch = task_to_transfer(data.class_names), Watch()
small_trainer(
    devices=2, strategy=sys.argv[1], max_epochs=3, callbacks=[StagedUnfreezing(STEPS), watch], limit_val_batches=0
).fit(task, data)
total = sum(value.double().sum() for value in task.parameters()).item()
totals = [None, None]
torch.distributed.all_gather_object(totals, total)
assert totals[0] == totals[1], totals
assert watch.moved == [["head"]] * 2 + [["s4", "head"]] * 2 + [["s1", "s2", "s4", "head"]] * 2
"""


def test_two_processes_unfreeze_alike(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(TWO_PROCESSES)
    words = [sys.executable, str(script), "ddp_find_unused_parameters_true"]
    environment = {**os.environ, "PYTHONPATH": ".", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]


def test_processes_that_would_wait_for_what_is_frozen_are_refused():
    trainer = SimpleNamespace(world_size=2, strategy=DDPStrategy())
    with pytest.raises(ConfigError, match=r"trainer\.strategy=ddp_find_unused_parameters_true"):
        StagedUnfreezing(STEPS).setup(trainer, task_to_transfer(["a", "b"]), "fit")
