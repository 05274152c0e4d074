"""ISBI 2012: U-Net in five-fold cross-validation.

    python -m tests.benchmarks.isbi_table DATA OUTPUT [key=value ...]

DATA is the folder of the card isbi_membrane. Every fold holds out six neighboring slices. Prints a markdown table of
the metrics on them and its mean and standard deviation, and keeps it in OUTPUT/table.md. key=value words go to every
run; they take precedence over those of `SMALL`, which make the run short enough for a CPU.
"""

import os
import statistics
import sys
from pathlib import Path

from tests.benchmarks.schedules import fit_and_test, show

FOLDS = 5
COLUMNS = ("dice/membrane", "dice/cell", "mIoU", "boundary_F1", "pixel_accuracy")

SMALL = [
    "model.backbone.width=16",
    "model.backbone.use_batch_norm=true",
    "model.backbone.dropout=0.0",
    "optimizer={name: adam, lr: 0.002, momentum: 0.9, weight_decay: 0.0, base_batch_size: 2}",
    "schedule={name: cosine, warmup_steps: 20}",
    "data.batch_size=2",
    "data.num_workers=0",
    "data.augment=[{name: RandomCrop, height: 256, width: 256}, {name: D4, p: 1.0},"
    " {name: ElasticTransform, alpha: 100, sigma: 10, p: 0.5}]",
    "trainer.max_epochs=40",
    "trainer.accelerator=cpu",
    "trainer.limit_val_batches=0",
    "trainer.enable_progress_bar=false",
]
"""A sixteenth of the paper's multiplications, on crops; gray images enter as one channel."""


def fold_row(fold: int, words: list[str]) -> tuple[list[float], float]:
    """Return the metrics of the held-out slices of a fold in percent, and the CPU minutes of its training."""
    split = [f"data.splits.{name}.fold={fold}" for name in ("train", "val")]
    metrics, _, minutes = fit_and_test("unet", [*words, *split])
    return [100 * metrics[name] for name in COLUMNS], minutes


if __name__ == "__main__":
    data, output = (Path(word).resolve() for word in sys.argv[1:3])
    output.mkdir(parents=True, exist_ok=True)
    os.chdir(output)
    card = ["isbi_membrane", f"data.root={data}", "model.backbone.in_channels=1", "evaluation.boundaries=true"]
    found, rows = [], []
    for fold in range(FOLDS):
        metrics, minutes = fold_row(fold, [*card, *SMALL, *sys.argv[3:]])
        found.append(metrics)
        rows.append([str(fold), *(f"{value:.1f}" for value in metrics), f"{minutes:.1f}"])
        show(["fold", *COLUMNS, "CPU minutes"], rows)
    means = [f"{statistics.mean(column):.1f} ± {statistics.stdev(column):.1f}" for column in zip(*found, strict=True)]
    show(["fold", *COLUMNS, "CPU minutes"], [*rows, ["mean", *means, ""]])
