"""A trainer for short runs on the CPU."""

import lightning.pytorch as pl


def small_trainer(**options):
    """A silent Trainer of one epoch on the CPU."""
    defaults = {
        "max_epochs": 1,
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
    }
    return pl.Trainer(**{**defaults, **options})
