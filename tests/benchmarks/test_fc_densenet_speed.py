"""Time and memory of FC-DenseNet's training beside a plain loop that joins all maps for every layer.

The time is that of the CPU, which other work on the machine disturbs less.

Run by hand on an idle machine: pytest -m benchmark -o addopts="" -s tests/benchmarks/test_fc_densenet_speed.py
"""

import resource
import statistics
import subprocess
import sys
import time

import pytest
import torch
from torch.nn import functional

from visionkit.backbones import create_backbone
from visionkit.backbones.dense_block import DenseBlock
from visionkit.models import create_model

NAME, CLASSES = "fc_densenet103", 11
PICTURES_AND_SIDE = [(1, 224), (3, 64)]
FOR_MEMORY = (3, 224)
WARM_UP, ROUNDS = 1, 7
BOUND = 1.0

pytestmark = pytest.mark.benchmark


def training_step(form, layout=torch.channels_last):
    """A function of pictures and labels that trains once."""
    torch.manual_seed(0)
    spare = form == "recomputing"
    backbone = create_backbone(NAME, weights="none", memory_efficient=spare)
    network = create_model("fc_densenet", backbone, CLASSES, memory_efficient=spare).to(memory_format=layout)
    if form == "plain":
        for block in network.modules():
            if isinstance(block, DenseBlock):
                block.forward = block.plain
    optimizer = torch.optim.RMSprop(network.parameters(), lr=1e-3)

    def step(pictures, labels):
        optimizer.zero_grad()
        functional.cross_entropy(network(pictures), labels).backward()
        optimizer.step()

    return step


def batch(number, side, layout=torch.channels_last):
    pictures = torch.randn(number, 3, side, side).contiguous(memory_format=layout)
    return pictures, torch.randint(0, CLASSES, (number, side, side))


def seconds(step, pictures, labels):
    start = time.process_time()
    step(pictures, labels)
    return time.process_time() - start


@pytest.mark.parametrize(("number", "side"), PICTURES_AND_SIDE)
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_a_training_step_takes_no_longer_than_the_plain_loop(layout, number, side, capsys):
    torch.set_num_threads(1)
    steps = {form: training_step(form, layout) for form in ("plain", "one buffer", "recomputing")}
    given = batch(number, side, layout)
    times = []
    for round_number in range(WARM_UP + ROUNDS):
        order = list(steps) if round_number % 2 == 0 else list(steps)[::-1]  # neither always follows the other
        taken = {form: seconds(steps[form], *given) for form in order}
        times.append([taken[form] / taken["plain"] for form in steps] + [taken["plain"]])
    _, ratio, spare_ratio, plain = (statistics.median(column) for column in zip(*times[WARM_UP:], strict=True))
    with capsys.disabled():
        print(f"\n{NAME}, {number} pictures of {side}, {layout}: plain loop {plain:.2f} s,", end=" ")
        print(f"ratio {ratio:.3f}, recomputing {spare_ratio:.3f}")
    assert ratio <= BOUND


def test_recomputing_takes_less_memory(capsys):
    peaks = {}
    for form in ("plain", "one buffer", "recomputing"):
        answer = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.test_fc_densenet_speed", form],
            capture_output=True,
            text=True,
            check=True,
        )
        peaks[form] = float(answer.stdout.split()[-1])
    with capsys.disabled():
        print(f"\n{NAME}, {FOR_MEMORY[0]} pictures of {FOR_MEMORY[1]}, one training step, GiB:", peaks)
    assert peaks["recomputing"] < peaks["one buffer"] < peaks["plain"]


def own_peak(form):
    """GiB of memory that one training step adds to what the process holds before it."""
    step, given = training_step(form), batch(*FOR_MEMORY)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step(*given)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20


if __name__ == "__main__":
    print(f"{own_peak(sys.argv[1]):.2f}")
