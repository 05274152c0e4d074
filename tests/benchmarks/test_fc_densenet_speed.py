"""Time and memory of FC-DenseNet training, compared with a loop that concatenates all maps for every layer.

Run by hand on an idle machine: pytest -m benchmark -o addopts="" -s tests/benchmarks/test_fc_densenet_speed.py
"""

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from tests.benchmarks.speed_table.segmenters import concatenating
from tests.benchmarks.speed_table.timing import compare
from visionkit.backbones import create_backbone
from visionkit.models import create_model

NAME, CLASSES = "fc_densenet103", 11
IMAGES_AND_SIDE = [(1, 224), (3, 64)]
FOR_MEMORY = (3, 224)
VARIANTS = ("plain", "one buffer", "recomputing")
BOUND = 1.0

pytestmark = pytest.mark.benchmark


def training_step(variant, layout=torch.channels_last):
    """Return a function of images and labels that runs one training step."""
    torch.manual_seed(0)
    spare = variant == "recomputing"
    backbone = create_backbone(NAME, weights="none", memory_efficient=spare)
    network = create_model("fc_densenet", backbone, CLASSES, memory_efficient=spare).to(memory_format=layout)
    if variant == "plain":
        network = concatenating(network)
    optimizer = torch.optim.RMSprop(network.parameters(), lr=1e-3)

    def step(images, labels):
        optimizer.zero_grad()
        functional.cross_entropy(network(images), labels).backward()
        optimizer.step()

    return step


def batch(number, side, layout=torch.channels_last):
    images = torch.randn(number, 3, side, side).contiguous(memory_format=layout)
    return images, torch.randint(0, CLASSES, (number, side, side))


def job(variant, layout, number, side):
    """Return a training step on a batch of its own."""
    return partial(training_step(variant, layout), *batch(number, side, layout))


@pytest.mark.parametrize(("number", "side"), IMAGES_AND_SIDE)
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_a_training_step_takes_no_longer_than_the_plain_loop(layout, number, side, capsys):
    variants = ("one buffer", "recomputing", "plain")
    found = compare({variant: partial(job, variant, layout, number, side) for variant in variants}, rounds=8)
    with capsys.disabled():
        print(f"\n{NAME}, {number} images of {side}, {layout}: {found.in_words()}")
    assert found.ratio("plain").median <= BOUND


def test_recomputing_takes_less_memory(capsys):
    peaks = {}
    for variant in VARIANTS:
        answer = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.test_fc_densenet_speed", variant],
            capture_output=True,
            text=True,
            check=True,
        )
        peaks[variant] = float(answer.stdout.split()[-1])
    with capsys.disabled():
        print(f"\n{NAME}, {FOR_MEMORY[0]} images of {FOR_MEMORY[1]}, one training step, GiB:", peaks)
    assert peaks["recomputing"] < peaks["one buffer"] < peaks["plain"]


def own_peak(variant):
    """Return the GiB of memory that one training step adds to the process."""
    step, given = training_step(variant), batch(*FOR_MEMORY)
    before = highest()
    step(*given)
    return highest() - before


def highest():
    """Return the peak GiB of the process; getrusage would start at the peak of the parent process."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**20


if __name__ == "__main__":
    print(f"{own_peak(sys.argv[1]):.2f}")
