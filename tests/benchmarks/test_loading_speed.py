"""Speed of decode, random resized crop to 224 and flip, compared with torchvision, interleaved in one process.

Run by hand on an idle machine: pytest -m benchmark -o addopts="" -s tests/benchmarks/test_loading_speed.py
"""

import pytest

from tests.benchmarks.speed_table.loading import loading_contenders
from tests.benchmarks.speed_table.setting import default_setting
from tests.benchmarks.speed_table.timing import compare

pytestmark = pytest.mark.benchmark


def test_an_image_is_loaded_no_slower_than_by_torchvision(capsys):
    found = compare(loading_contenders(default_setting("loading")), rounds=26)
    with capsys.disabled():
        print(f"\nan epoch of the loader: {found.in_words()}")
    assert all(found.ratio(f"torchvision, {decoder}").median <= 1.0 for decoder in ("PIL", "decode_jpeg"))
