"""Shapes: every detector's published recipe as it runs without a card, on one core.

    python -m tests.benchmarks.shapes_table OUTPUT [recipe ...] [key=value ...]

Prints a markdown table of the metrics on the test images and of the minutes of a core, and keeps it in
OUTPUT/table.md. What OUTPUT/rows has is not measured again. key=value words go to every run. Backbones begin with
ImageNet weights where they are at hand or can be fetched, else with random values.
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
    """Names of the detectors' recipes but for those that are ours for a computer without a GPU."""
    recipes = [path for path in sorted(RECIPES.glob("*.yaml")) if "without_gpu" not in path.read_text()]
    return [path.stem for path in recipes if compose([str(path)]).values["task"] == "detection"]


def row(recipe: str, words: list[str]) -> list[str]:
    """The table's line of one recipe."""
    metrics, _, minutes = fit_and_test(recipe, words)
    return [recipe, f"{minutes:.1f}", f"{metrics['AP50']:.3f}", f"{metrics['AP']:.3f}"]


if __name__ == "__main__":
    words = [*WORDS, *(word for word in sys.argv[2:] if "=" in word)]
    output = Path(sys.argv[1])
    output.mkdir(parents=True, exist_ok=True)
    os.chdir(output)
    chosen = [word for word in sys.argv[2:] if "=" not in word]
    fill(["recipe", "CPU minutes", "AP50", "AP"], published_detectors(), chosen, lambda recipe: row(recipe, words))
