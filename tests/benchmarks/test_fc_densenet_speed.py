"""Time and memory of FC-DenseNet training, compared with a loop that concatenates all maps for every layer.

CPU time is measured, because other processes disturb it less. The network that is built first gets slower memory, so
both orders are measured.

Run by hand on an idle machine: pytest -m benchmark -o addopts="" -s tests/benchmarks/test_fc_densenet_speed.py
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from visionkit.backbones import create_backbone
from visionkit.backbones.dense_block import DenseBlock
from visionkit.models import create_model

NAME, CLASSES = "fc_densenet103", 11
IMAGES_AND_SIDE = [(1, 224), (3, 64)]
FOR_MEMORY = (3, 224)
VARIANTS = ("plain", "one buffer", "recomputing")
WARM_UP, ROUNDS = 1, 4
BOUND = 1.0

pytestmark = pytest.mark.benchmark


def training_step(variant, layout=torch.channels_last):
    """Return a function of images and labels that runs one training step."""
    torch.manual_seed(0)
    spare = variant == "recomputing"
    backbone = create_backbone(NAME, weights="none", memory_efficient=spare)
    network = create_model("fc_densenet", backbone, CLASSES, memory_efficient=spare).to(memory_format=layout)
    if variant == "plain":
        for block in network.modules():
            if isinstance(block, DenseBlock):
                block.forward = block.plain
    optimizer = torch.optim.RMSprop(network.parameters(), lr=1e-3)

    def step(images, labels):
        optimizer.zero_grad()
        functional.cross_entropy(network(images), labels).backward()
        optimizer.step()

    return step


def batch(number, side, layout=torch.channels_last):
    images = torch.randn(number, 3, side, side).contiguous(memory_format=layout)
    return images, torch.randint(0, CLASSES, (number, side, side))


def seconds(step, images, labels):
    start = time.process_time()
    step(images, labels)
    return time.process_time() - start


def times(variants, layout, number, side):
    """Return the seconds of each variant, one row per round; the networks are built in the order of the variants."""
    steps, given = {variant: training_step(variant, layout) for variant in variants}, batch(number, side, layout)
    rows = []
    for round_number in range(WARM_UP + ROUNDS):
        order = variants if round_number % 2 == 0 else variants[::-1]  # none always follows another
        rows.append({variant: seconds(steps[variant], *given) for variant in order})
    return rows[WARM_UP:]


@pytest.mark.parametrize(("number", "side"), IMAGES_AND_SIDE)
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_a_training_step_takes_no_longer_than_the_plain_loop(layout, number, side, capsys):
    torch.set_num_threads(1)
    rows = [row for variants in (VARIANTS, VARIANTS[::-1]) for row in times(variants, layout, number, side)]
    ratio, spare_ratio = (statistics.median(row[variant] / row["plain"] for row in rows) for variant in VARIANTS[1:])
    plain = statistics.median(row["plain"] for row in rows)
    with capsys.disabled():
        print(f"\n{NAME}, {number} images of {side}, {layout}: plain loop {plain:.2f} s,", end=" ")
        print(f"ratio {ratio:.3f}, recomputing {spare_ratio:.3f}")
    assert ratio <= BOUND


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
