import csv

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, EMAWeightAveraging

from tests.tasks.small import small_data, small_task, small_trainer
from visionkit.data.datasets.shapes import FORMS
from visionkit.engine.run import (
    EarlyStoppingOptions,
    EmaOptions,
    latest_checkpoint,
    make_callbacks,
    make_loggers,
    new_run_folder,
)
from visionkit.errors import VisionkitError
from visionkit.metrics.results import MetricResults
from visionkit.tasks import Task


def test_run_folders_are_numbered_and_never_shared(tmp_path):
    folders = [new_run_folder("r", tmp_path) for _ in range(2)]
    (tmp_path / "r" / "10").mkdir()
    folders.append(new_run_folder("r", tmp_path))
    assert [folder.name for folder in folders] == ["1", "2", "11"]


def test_the_latest_checkpoint_is_that_of_the_highest_number(tmp_path):
    for number in (2, 10):
        (tmp_path / "r" / str(number)).mkdir(parents=True)
        (tmp_path / "r" / str(number) / "last.ckpt").touch()
    assert latest_checkpoint("r", tmp_path).parent.name == "10"
    with pytest.raises(VisionkitError, match="nothing to resume"):
        latest_checkpoint("other", tmp_path)


def test_callbacks_follow_the_recipe(tmp_path):
    kinds = {type(c) for c in make_callbacks(tmp_path, "val/AP", EmaOptions(), EarlyStoppingOptions(patience=3))}
    assert {EMAWeightAveraging, EarlyStopping} <= kinds
    assert not {EMAWeightAveraging, EarlyStopping} & {type(c) for c in make_callbacks(tmp_path, "val/AP")}


def train(tmp_path, resumed=None, **options):
    callbacks = make_callbacks(tmp_path, "val/AP", **options.pop("make", {}))
    trainer = small_trainer(
        callbacks=[*callbacks, *options.pop("more", [])],
        logger=make_loggers(tmp_path),
        enable_checkpointing=True,
        log_every_n_steps=1,
        **options,
    )
    trainer.fit(small_task(list(FORMS)), small_data(), ckpt_path=resumed, weights_only=True)
    return trainer


def test_best_and_last_are_kept_and_the_average_is_what_is_saved(tmp_path):
    train(tmp_path, make={"ema": EmaOptions(decay=0.5)}, max_epochs=2)
    assert {"best.ckpt", "last.ckpt", "metrics.csv"} <= {path.name for path in tmp_path.iterdir()}
    Task.load_from_checkpoint(tmp_path / "best.ckpt")
    header = (tmp_path / "metrics.csv").read_text().splitlines()[0]
    assert "val/AP" in header
    assert "train/loss" in header


def test_a_resumed_run_keeps_the_rows_of_its_first_epochs(tmp_path):
    def rows(kind):
        with (tmp_path / "metrics.csv").open() as file:
            return [int(row["step"]) for row in csv.DictReader(file) if row[kind]]

    train(tmp_path, max_epochs=1)
    assert (rows("train/loss_step"), rows("val/AP")) == ([0, 1], [1])
    for epochs in (2, 3, 3):  # at last there is nothing left to train
        train(tmp_path, resumed=tmp_path / "last.ckpt", max_epochs=epochs)
    assert (rows("train/loss_step"), rows("val/AP")) == ([0, 1, 2, 3, 4, 5], [1, 3, 5])


def test_ctrl_c_leaves_a_last_checkpoint_that_can_be_resumed(tmp_path):
    import torch
    from lightning.pytorch.callbacks import Callback

    class Interrupt(Callback):
        def on_train_batch_start(self, trainer, task, batch, index):
            if trainer.global_step == 3:
                raise KeyboardInterrupt

    with pytest.raises(SystemExit):
        train(tmp_path, more=[Interrupt()], max_epochs=5)
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 3
    trainer = small_trainer(max_epochs=3)
    trainer.fit(small_task(list(FORMS)), small_data(), ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert trainer.global_step == 6


def test_what_no_validation_followed_is_kept_all_the_same(tmp_path):
    trainer = train(tmp_path, max_epochs=3, check_val_every_n_epoch=2)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == trainer.global_step


def test_what_shall_not_learn_is_kept_too(tmp_path):
    train(tmp_path, max_epochs=0)
    assert Task.load_from_checkpoint(tmp_path / "last.ckpt").class_names == list(FORMS)


def test_the_check_before_training_is_no_result(tmp_path):
    trainer = train(tmp_path, max_epochs=1, check_val_every_n_epoch=2, num_sanity_val_steps=1)
    assert trainer.lightning_module.results == MetricResults()
    assert not (tmp_path / "best.ckpt").exists()
    Task.load_from_checkpoint(tmp_path / "last.ckpt")
