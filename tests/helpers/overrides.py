"""Overrides that bring any detection recipe down to a few seconds."""

SMALL = "{split: %s, count: %d, size: 64}"
SPLITS = f"data.splits={{train: {SMALL % ('train', 4)}, val: {SMALL % ('val', 3)}, test: {SMALL % ('val', 3)}}}"
TINY = [
    SPLITS,
    "data.batch_size=2",
    "data.num_workers=0",
    "preprocess.short_side=64",
    "trainer.max_epochs=1",
    "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
    "trainer.enable_model_summary=false",
    "schedule.warmup_steps=0",
]
