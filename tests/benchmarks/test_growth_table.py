"""The growth table with tiny sizes, and its slopes."""

import math
import subprocess
import sys

import pytest
import torch

from tests.benchmarks import growth_table
from tests.benchmarks.growth_table import markdown, slope
from tests.helpers.real_data import REPOSITORY


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("power", [0, 1, 2])
def test_the_slope_is_the_power(power):
    sizes = (1, 10, 100, 1000)
    assert slope(sizes, [3.0 * size**power for size in sizes]) == pytest.approx(power, abs=1e-9)


def test_small_sizes_do_not_hide_growth():
    assert slope((1, 10, 100, 1000), [1.0, 1.0, 1.0, 100.0]) > slope((1, 10, 100, 1000), [1.0, 1.0, 10.0, 100.0]) - 0.1
    assert slope((1, 10, 100, 1000), [5.0, 5.0, 10.0, 100.0]) > 0.6


def test_the_peak_of_freed_memory_counts():
    """In a process of its own, since that of all tests has free memory that it takes first."""
    job = "cost(lambda: torch.ones(100 * 2**18).sum(), runs=1, warm_up=0).mebibytes"
    code = f"import torch\nfrom tests.benchmarks.growth_table import cost\ntorch.ones(9).sum()\nprint({job})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert 90 < float(found.stdout) < 130


def test_a_cost_of_zero_has_no_slope():
    assert math.isnan(slope((1, 10), [0.0, 1.0]))


def test_the_data_set_part_opens_all_images(capsys):
    assert growth_table.main(["images", "--sizes", "10,2000"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("| images of the data set | 10 | 2,000 | slope of time | slope of memory |")
    assert "| open | " in text
    assert markdown("", (10,), {"job": [growth_table.Cost(0.5, 3)]}).endswith("| job | 0.5 s, 3 MiB | - | - |")


def test_an_unknown_part_is_refused(capsys):
    with pytest.raises(SystemExit):
        growth_table.main(["image"])
    assert "image_size" in capsys.readouterr().err
