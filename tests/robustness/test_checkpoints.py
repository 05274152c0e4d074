"""Damaged checkpoints; see `tests/robustness/cases/checkpoints.py`."""

import copy

import pytest
import torch
from hypothesis import given

from tests.robustness import boundary
from tests.robustness.boundary import run_here, sandbox
from tests.robustness.cases.models import content
from tests.robustness.checks import QUICK, RANDOM, SLOW, ends_well, many_end_well


@QUICK
@given(rng=RANDOM)
def test_a_few_cases(rng):
    ends_well("checkpoints", rng)


@pytest.mark.slow
@SLOW
@given(rng=RANDOM)
def test_many_cases(rng):
    many_end_well("checkpoints", rng)


CALL = {"class_path": "os.mkdir", "init_args": {"path": "../canary"}}
PLACES = [
    "data.splits.val.count",
    "data.splits.val",
    "data.classes",
    "data.proposals.mode",
    "model.head",
    "trainer.precision",
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("command", ["test", "validate"])
def test_a_recipe_in_a_checkpoint_runs_no_code(place, command, tmp_path):
    """jsonargparse calls what a `class_path` names, wherever a value has the type `Any`."""
    inside = sandbox(tmp_path / "run")
    made = copy.deepcopy(content("classification"))
    *around, last = place.split(".")
    parent = made["visionkit"]["recipe"]
    for key in around:
        parent = parent.setdefault(key, {})
    parent[last] = CALL
    torch.save(made, inside / "best.ckpt")
    ending = run_here(lambda: boundary.command([command, "best.ckpt", "data.num_workers=0"]), inside)
    assert ending.kind == "refused", ending
