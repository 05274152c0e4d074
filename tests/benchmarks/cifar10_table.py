"""CIFAR-10: the complete published schedules and errors; needs a GPU.

    python -m tests.benchmarks.cifar10_table DATA OUTPUT [key=value ...]

DATA is the folder of the card cifar10_arrays; key=value words go to every run (trainer.precision=bf16-mixed).
Prints a markdown table of the last checkpoint's error on the test images.
"""

import os
import sys
from pathlib import Path

from tests.benchmarks.schedules import fit_and_test

PUBLISHED = {"resnet20_cifar10": 8.75, "resnet110_cifar10": 6.43, "densenet_bc_100_12_cifar10": 4.51}
"""Test error in % (He 2015, table 6; Huang 2016, table 2)."""


def line(recipe: str, words: list[str]) -> str:
    """Return a row of the table."""
    metrics, minutes, _ = fit_and_test(recipe, words)
    return f"| {recipe} | {PUBLISHED[recipe]:.2f} | {100 * (1 - metrics['top1']):.2f} | {minutes:.0f} |"


if __name__ == "__main__":
    data, output = (Path(word).resolve() for word in sys.argv[1:3])
    output.mkdir(parents=True, exist_ok=True)
    os.chdir(output)
    lines = ["| recipe | published error % | error % | minutes |", "|---|---|---|---|"]
    for recipe in PUBLISHED:
        lines.append(line(recipe, ["cifar10_arrays", f"data.root={data}", *sys.argv[3:]]))
        Path("table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
