"""Checkpoints of a training: whole at every moment, whatever happens to the disk, the process and its folder."""

import os
import shutil

import pytest
from lightning.pytorch.plugins import AsyncCheckpointIO

from tests.helpers.small_detector import small_data, small_task
from tests.helpers.small_disk import small_disk
from tests.helpers.small_trainer import small_trainer
from visionkit.cli.config.build import build_trainer
from visionkit.data.datasets.shapes import SHAPE_OUTLINES
from visionkit.data.io import atomic_write as module
from visionkit.engine.callbacks import make_callbacks
from visionkit.engine.checkpoint_io import AtomicCheckpointIO, with_atomic_checkpoints
from visionkit.engine.loggers import make_loggers
from visionkit.errors import WriteError
from visionkit.pipelines.checkpoint import read_checkpoint


def fit(folder, more=(), **options):
    trainer = small_trainer(
        plugins=[AtomicCheckpointIO()],
        callbacks=[*make_callbacks(folder, "val/AP"), *more],
        enable_checkpointing=True,
        logger=make_loggers(folder),
        **options,
    )
    trainer.fit(small_task(list(SHAPE_OUTLINES)), small_data())
    return trainer


def test_every_training_uses_it():
    trainer = build_trainer({"trainer": {"accelerator": "cpu"}}, [], False)
    assert isinstance(trainer.strategy.checkpoint_io, AtomicCheckpointIO)


def test_the_plugins_of_a_recipe_are_kept():
    other = AsyncCheckpointIO()
    assert with_atomic_checkpoints([other]) == [other]
    assert with_atomic_checkpoints(other) == [other]
    assert [type(plugin) for plugin in with_atomic_checkpoints("x")] == [str, AtomicCheckpointIO]


def test_the_folder_for_temporary_files_is_not_used(tmp_path, monkeypatch):
    """It may be on another file system, or full."""
    with small_disk(tmp_path / "temporary", "4k") as full:
        monkeypatch.setenv("TMPDIR", str(full))
        monkeypatch.setattr("tempfile.tempdir", None)
        fit(tmp_path / "run")
    for name in ("best", "last"):
        read_checkpoint(tmp_path / "run" / f"{name}.ckpt")
    assert not [name for name in os.listdir(tmp_path / "run") if name.startswith(".")]


def test_a_disk_that_is_full_in_the_second_epoch_keeps_the_checkpoints_of_the_first(tmp_path, monkeypatch):
    writes = []

    class Full(module._TemporaryFile):
        def write(self, data):
            if len(writes) > 2:
                self.error = OSError(28, "No space left on device")
                raise self.error
            return super().write(data)

    replace = module.replace
    monkeypatch.setattr(module, "_TemporaryFile", Full)
    monkeypatch.setattr(module, "replace", lambda *args: replace(*args) or writes.append(args[1].name))
    with pytest.raises(WriteError, match=r"No space left on device\nthe previous file is kept"):
        fit(tmp_path / "run", max_epochs=5)
    assert {"best.ckpt", "last.ckpt"} <= {*writes}
    for name in ("best", "last"):
        read_checkpoint(tmp_path / "run" / f"{name}.ckpt")


def test_a_run_whose_folder_is_deleted_goes_on(tmp_path):
    from lightning.pytorch.callbacks import Callback

    class Delete(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            if trainer.current_epoch == 1:
                shutil.rmtree(tmp_path / "run")

    fit(tmp_path / "run", [Delete()], max_epochs=2)
    assert read_checkpoint(tmp_path / "run" / "last.ckpt")["epoch"] == 1
