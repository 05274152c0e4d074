"""Damaged XML files of CVAT; see `tests/robustness/cases/cvat.py`."""

import pytest
from hypothesis import given

from tests.robustness.checks import QUICK, RANDOM, SLOW, ends_well, many_end_well


@QUICK
@given(rng=RANDOM)
def test_a_few_cases(rng):
    ends_well("cvat", rng)


@pytest.mark.slow
@SLOW
@given(rng=RANDOM)
def test_many_cases(rng):
    many_end_well("cvat", rng)
