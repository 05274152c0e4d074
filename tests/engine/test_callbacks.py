import signal

import pytest
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.utilities.exceptions import SIGTERMException

from tests.helpers.small_detector import small_data, small_task
from tests.helpers.small_trainer import small_trainer
from tests.helpers.training_run import train
from visionkit.data.datasets.shapes import SHAPE_OUTLINES
from visionkit.engine.callbacks import EarlyStoppingOptions, EMAOptions, make_callbacks
from visionkit.engine.moving_average import MovingAverage
from visionkit.metrics.results import MetricResults
from visionkit.tasks import Task


def test_callbacks_follow_the_recipe(tmp_path):
    kinds = {type(c) for c in make_callbacks(tmp_path, "val/AP", EMAOptions(), EarlyStoppingOptions(patience=3))}
    assert {MovingAverage, EarlyStopping} <= kinds
    assert not {MovingAverage, EarlyStopping} & {type(c) for c in make_callbacks(tmp_path, "val/AP")}


def test_best_and_last_checkpoints_hold_the_moving_average(tmp_path):
    train(tmp_path, make={"ema": EMAOptions(decay=0.5)}, max_epochs=2)
    assert {"best.ckpt", "last.ckpt", "metrics.csv"} <= {path.name for path in tmp_path.iterdir()}
    Task.load_from_checkpoint(tmp_path / "best.ckpt")
    header = (tmp_path / "metrics.csv").read_text().splitlines()[0]
    assert "val/AP" in header
    assert "train/loss" in header


def test_ctrl_c_leaves_a_last_checkpoint_that_can_be_resumed(tmp_path, caplog):
    class Interrupt(Callback):
        def on_train_batch_start(self, trainer, task, batch, index):
            if trainer.global_step == 2:
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(SIGTERMException):
        train(tmp_path, more=[Interrupt()], max_epochs=5)
    answer = "SIGINT received: the training stops after this step, and after the validation if one follows"
    assert answer in caplog.messages
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 3
    trainer = small_trainer(max_epochs=3)
    trainer.fit(small_task(list(SHAPE_OUTLINES)), small_data(), ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert trainer.global_step == 6


def test_steps_after_the_last_validation_are_saved(tmp_path):
    trainer = train(tmp_path, max_epochs=3, check_val_every_n_epoch=2)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == trainer.global_step


def test_a_network_that_is_not_trained_is_saved_too(tmp_path):
    train(tmp_path, max_epochs=0)
    assert Task.load_from_checkpoint(tmp_path / "last.ckpt").class_names == list(SHAPE_OUTLINES)


def test_the_sanity_check_before_training_leaves_no_results(tmp_path):
    trainer = train(tmp_path, max_epochs=1, check_val_every_n_epoch=2, num_sanity_val_steps=1)
    assert trainer.lightning_module.results == MetricResults()
    assert not (tmp_path / "best.ckpt").exists()
    Task.load_from_checkpoint(tmp_path / "last.ckpt")
