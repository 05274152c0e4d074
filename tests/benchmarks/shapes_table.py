"""Shapes: the published recipe of every detector without a data card, on one core.

    python -m tests.benchmarks.shapes_table OUTPUT [recipe ...] [key=value ...]

Prints a Markdown table of the metrics on the test images and of the CPU minutes, and writes it to OUTPUT/table.md.
Rows in OUTPUT/rows are not measured again. key=value words go to every run. Backbones have ImageNet weights if these
are on disk or can be downloaded, otherwise they are randomly initialized.
"""

import os
import sys
from pathlib import Path

from tests.benchmarks.schedules import fill, fit_and_test
from visionkit.cli.config.compose import compose

RECIPES = Path(__file__).parents[2] / "recipes"
WORDS = [
    "trainer.accelerator=cpu",
    "trainer.limit_val_batches=0",
    "trainer.enable_progress_bar=false",
    "data.num_workers=0",
]


def published_detectors() -> list[str]:
    """Return the names of the published detector recipes, without those for machines without a GPU."""
    recipes = [path for path in sorted(RECIPES.glob("*.yaml")) if "without_gpu" not in path.read_text()]
    return [path.stem for path in recipes if compose([str(path)]).values["task"] == "detection"]


def row(recipe: str, words: list[str]) -> list[str]:
    """Return the table row of one recipe."""
    metrics, _, minutes = fit_and_test(recipe, words)
    return [recipe, f"{minutes:.1f}", f"{metrics['AP50']:.3f}", f"{metrics['AP']:.3f}"]


if __name__ == "__main__":
    words = [*WORDS, *(word for word in sys.argv[2:] if "=" in word)]
    output = Path(sys.argv[1])
    output.mkdir(parents=True, exist_ok=True)
    os.chdir(output)
    chosen = [word for word in sys.argv[2:] if "=" not in word]
    fill(["recipe", "CPU minutes", "AP50", "AP"], published_detectors(), chosen, lambda recipe: row(recipe, words))
