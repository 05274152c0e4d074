"""Damaged Parquet files and folders of `save_to_disk`; see `tests/robustness/cases/huggingface.py`."""

import pytest
from hypothesis import given

from tests.robustness.checks import QUICK, RANDOM, SLOW, ends_well, many_end_well

pytest.importorskip("pyarrow")


@QUICK
@given(rng=RANDOM)
def test_a_few_cases(rng):
    ends_well("huggingface", rng)


@pytest.mark.slow
@SLOW
@given(rng=RANDOM)
def test_many_cases(rng):
    many_end_well("huggingface", rng)
