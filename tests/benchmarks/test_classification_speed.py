"""Speed of training step and inference of classifiers, compared with torchvision in a plain loop.

On a CPU, CPU seconds of one core are measured, because other processes disturb them less than wall time.

Run by hand: pytest -m benchmark -o addopts="" -s tests/benchmarks/test_classification_speed.py
"""

from functools import partial

import pytest

from tests.benchmarks.speed_table.classifiers import contenders, own_step
from tests.benchmarks.speed_table.setting import default_setting
from tests.benchmarks.speed_table.timing import compare

BOUND = 1.03
ROUNDS = 16

pytestmark = pytest.mark.benchmark


@pytest.mark.parametrize("name", ["resnet50", "densenet121"])
@pytest.mark.parametrize("job", ["training", "inference"])
def test_the_task_takes_no_longer_than_a_loop_by_hand(name, job, capsys):
    found = compare(contenders(name, default_setting(job, batch=4)), rounds=ROUNDS)
    with capsys.disabled():
        print(f"\n{name}, {job}: {found.in_words()}")
    assert found.ratio("plain loop, channels-last").median <= BOUND


@pytest.mark.parametrize("flag", [{"channels_last": True}, {"compile": True}], ids=lambda flag: next(iter(flag)))
@pytest.mark.parametrize("job", ["training", "inference"])
def test_what_the_runtime_flags_bring(flag, job, capsys):
    setting = default_setting(job, batch=4)
    without = {key: not value for key, value in flag.items()}
    runs = {str(options): partial(own_step, "resnet50", setting, **options) for options in (flag, without)}
    found = compare(runs, rounds=ROUNDS)
    with capsys.disabled():
        print(f"\nresnet50, {job}: {found.in_words()}")
    if "channels_last" in flag:
        assert found.ratio(str(without)).median <= BOUND
