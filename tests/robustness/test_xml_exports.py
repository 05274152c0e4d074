"""Damaged XML files of annotation tools; see `tests/robustness/cases/xml_exports.py`."""

import pytest
from hypothesis import given

from tests.robustness.checks import QUICK, RANDOM, SLOW, ends_well, many_end_well


@QUICK
@given(rng=RANDOM)
def test_a_few_cases(rng):
    ends_well("xml_exports", rng)


@pytest.mark.slow
@SLOW
@given(rng=RANDOM)
def test_many_cases(rng):
    many_end_well("xml_exports", rng)
