"""Speed of a training step of Faster R-CNN, compared with torchvision, interleaved in one process.

Run by hand on an idle machine: pytest -m benchmark -o addopts="" -s tests/benchmarks/test_faster_rcnn_speed.py
"""

import pytest

from tests.benchmarks.speed_table.detectors import contenders
from tests.benchmarks.speed_table.setting import default_setting
from tests.benchmarks.speed_table.timing import compare

pytestmark = pytest.mark.benchmark


def test_a_training_step_takes_no_longer_than_torchvisions(capsys):
    found = compare(contenders("faster_rcnn", default_setting("training")), rounds=10)
    with capsys.disabled():
        print(f"\ntraining step: {found.in_words()}")
    assert found.ratio("torchvision").median <= 1.0
