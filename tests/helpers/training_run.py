"""A short training run with the callbacks and loggers of a recipe."""

from tests.helpers.small_detector import small_data, small_task
from tests.helpers.small_trainer import small_trainer
from visionkit.data.datasets.shapes import SHAPE_OUTLINES
from visionkit.engine.callbacks import make_callbacks
from visionkit.engine.loggers import make_loggers


def train(tmp_path, resumed=None, **options):
    callbacks = make_callbacks(tmp_path, "val/AP", **options.pop("make", {}))
    trainer = small_trainer(
        callbacks=[*callbacks, *options.pop("more", [])],
        logger=[*make_loggers(tmp_path), *options.pop("more_loggers", [])],
        enable_checkpointing=True,
        log_every_n_steps=1,
        **options,
    )
    trainer.fit(small_task(list(SHAPE_OUTLINES)), small_data(), ckpt_path=resumed, weights_only=True)
    return trainer
