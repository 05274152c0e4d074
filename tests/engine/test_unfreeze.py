import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy

from tests.helpers.small_classifier import small_classification, small_images
from tests.helpers.small_trainer import small_trainer
from tests.helpers.unfreezing import PARTS, STEPS, Watch, task_to_transfer
from visionkit.engine.unfreeze import StagedUnfreezing, UnfreezeStep
from visionkit.errors import ConfigError
from visionkit.tasks import ScheduleOptions, Task


def train(steps, *, epochs=3, more=(), fit=None, **options):
    data = small_images(train=8, val=4)  # an epoch has two steps
    task, watch = task_to_transfer(data.class_names, **options), Watch()
    callbacks = [StagedUnfreezing(steps), watch, *more]
    trainer = small_trainer(max_epochs=epochs, callbacks=callbacks, enable_checkpointing=bool(more))
    trainer.fit(task, data, **(fit or {}))
    return task, watch, trainer


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_stages_are_trained_from_their_epochs_on(optimizer):
    task, watch, _ = train(STEPS, optimizer=optimizer)
    assert watch.moved == [["head"]] * 2 + [["s4", "head"]] * 2 + [PARTS] * 2
    assert task.backbone.frozen_stages == 0
    assert all(layer.training for layer in task.network.head.modules())


def test_unfrozen_stages_follow_the_schedule_with_their_own_learning_rate():
    _, watch, _ = train(STEPS)
    shares = [0.125, 0.25, 0.5, 1.0]
    for lrs in watch.lrs:
        assert [lrs[part] / lrs["head"] for part in PARTS] == pytest.approx(shares)
    assert [lrs["head"] for lrs in watch.lrs] == sorted([lrs["head"] for lrs in watch.lrs], reverse=True)


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_a_warm_up_affects_only_newly_unfrozen_stages(schedule):
    steps = [UnfreezeStep(1, 2, warmup_steps=4), UnfreezeStep(2, 0, warmup_steps=2)]
    _, watch, trainer = train(steps, decay=1.0, schedule=ScheduleOptions(name=schedule, warmup_steps=0, patience=9))
    shares = {part: [lrs[part] / lrs["head"] for lrs in watch.lrs] for part in PARTS}
    assert shares["s4"] == pytest.approx([1, 1, 0.25, 0.5, 0.75, 1])
    assert shares["s1"] == shares["s2"] == pytest.approx([1, 1, 1, 1, 0.5, 1])
    assert trainer.optimizers[0].param_groups[0]["lr"] == trainer.optimizers[0].param_groups[-1]["lr"]


@pytest.mark.parametrize("stop", [1, 2, 3, 4, 5])
def test_a_resumed_run_continues_like_an_uninterrupted_one(stop, tmp_path):
    steps = [UnfreezeStep(1, 2, warmup_steps=3), UnfreezeStep(2, 0)]
    keep = ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1, every_n_train_steps=1)
    _, whole, trainer = train(steps, more=[keep])
    path = tmp_path / f"step={stop}.ckpt"
    groups = len(torch.load(path, weights_only=True)["optimizer_states"][0]["param_groups"])
    assert groups == len(trainer.optimizers[0].param_groups)
    _, resumed, _ = train(steps, fit={"ckpt_path": path, "weights_only": True})
    assert resumed.moved == whole.moved[stop:]
    assert [list(lrs.values()) for lrs in resumed.lrs] == [
        pytest.approx(list(lrs.values())) for lrs in whole.lrs[stop:]
    ]


def test_a_checkpoint_holds_the_number_of_frozen_stages(tmp_path):
    keep = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
    train(STEPS, more=[keep])
    assert [
        Task.load_from_checkpoint(tmp_path / f"epoch={epoch}.ckpt").backbone.frozen_stages for epoch in range(3)
    ] == [3, 2, 0]


@pytest.mark.parametrize(
    ("steps", "frozen", "message"),
    [
        ([UnfreezeStep(2, 1), UnfreezeStep(1, 0)], "all", "later epoch"),
        ([UnfreezeStep(1, 1), UnfreezeStep(2, 2)], "all", "fewer frozen_stages"),
        ([UnfreezeStep(1, 2)], 2, "2 stages are frozen at first"),
        ([UnfreezeStep(1, 0)], 0, "set model.backbone.frozen_stages"),
    ],
)
def test_invalid_steps_raise(steps, frozen, message):
    with pytest.raises(ConfigError, match=message):
        train(steps, frozen_stages=frozen)


def test_a_randomly_initialized_backbone_is_trained_from_the_start(caplog):
    data = small_images()
    trainer = small_trainer(callbacks=[StagedUnfreezing(STEPS)])
    trainer.fit(small_classification(data.class_names), data)
    assert "is randomly initialized; all of it is trained" in caplog.text


TWO_PROCESSES = """
import sys, torch
from tests.helpers.small_classifier import small_images
from tests.helpers.small_trainer import small_trainer
from tests.helpers.unfreezing import STEPS, Watch, task_to_transfer
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
torch.distributed.destroy_process_group()
"""


def test_two_processes_unfreeze_the_same_stages(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(TWO_PROCESSES)
    words = [sys.executable, str(script), "ddp_find_unused_parameters_true"]
    environment = {**os.environ, "PYTHONPATH": ".", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_strategy_that_waits_for_frozen_parameters_raises():
    trainer = SimpleNamespace(world_size=2, strategy=DDPStrategy())
    with pytest.raises(ConfigError, match=r"trainer\.strategy=ddp_find_unused_parameters_true"):
        StagedUnfreezing(STEPS).setup(trainer, task_to_transfer(["a", "b"]), "fit")
