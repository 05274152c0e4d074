"""Speed of training step and inference of one-stage detectors, compared with torchvision, interleaved in one process.

Run by hand on an idle machine: pytest -m benchmark -o addopts="" -s tests/benchmarks/test_one_stage_speed.py
"""

import pytest

from tests.benchmarks.speed_table.detectors import contenders
from tests.benchmarks.speed_table.setting import default_setting
from tests.benchmarks.speed_table.timing import compare

pytestmark = pytest.mark.benchmark


@pytest.mark.parametrize("job", ["training", "inference"])
@pytest.mark.parametrize("name", ["ssd300", "retinanet"])
def test_it_takes_no_longer_than_torchvisions(name, job, capsys):
    found = compare(contenders(name, default_setting(job)), rounds=8)
    with capsys.disabled():
        print(f"\n{name}, {job}: {found.in_words()}")
    assert found.ratio("torchvision").median <= 1.0
