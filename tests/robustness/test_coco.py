"""Damaged COCO files; see `tests/robustness/cases/coco.py`."""

import pytest
from hypothesis import given

from tests.robustness.boundary import run_here, sandbox
from tests.robustness.cases import coco
from tests.robustness.cases.reading import write_card
from tests.robustness.checks import QUICK, RANDOM, SLOW, ends_well, many_end_well
from tests.robustness.mutations import as_json

CONTENTS = {"coco": coco.INSTANCES, "coco_semantic": coco.INSTANCES, "coco_panoptic": coco.PANOPTIC}


@pytest.mark.parametrize("data_format", CONTENTS)
@pytest.mark.parametrize("way", ["check", "read"])
def test_the_valid_files_are_read(data_format, way, tmp_path):
    """Otherwise the tests below would change nothing that is read."""
    inside = sandbox(tmp_path / "run")
    coco.write_images(inside)
    (inside / "i.json").write_text(as_json(CONTENTS[data_format]))
    write_card(inside, format=data_format, splits={"val": coco.split_of(data_format)})
    ending = run_here(lambda: coco.KIND.run(way), inside, confined=True)
    assert ending.kind == "success", ending


@QUICK
@given(rng=RANDOM)
def test_a_few_cases(rng):
    ends_well("coco", rng)


@pytest.mark.slow
@SLOW
@given(rng=RANDOM)
def test_many_cases(rng):
    many_end_well("coco", rng)
