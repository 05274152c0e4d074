"""Settings of the tests of this folder, and the check that they share."""

import logging
import tempfile
from pathlib import Path

import torch
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from tests.robustness.boundary import FAULTS, run_here, run_in_child, sandbox
from tests.robustness.cases import kind_of

UNCHECKED = [
    HealthCheck.too_slow,
    HealthCheck.data_too_large,
    HealthCheck.filter_too_much,
    HealthCheck.large_base_example,
]

PHASES = [Phase.explicit, Phase.reuse, Phase.generate]
"""Without shrinking, which takes minutes; the campaign keeps the files of a fault."""

COMMON = settings(deadline=None, phases=PHASES, suppress_health_check=UNCHECKED)

QUICK = settings(COMMON, derandomize=True, database=None, max_examples=20)
"""A few cases, the same in each run, in the process of pytest."""

SLOW = settings(COMMON, derandomize=False, max_examples=600)
"""Many new cases, each in its own process with limits."""

RANDOM = st.randoms(use_true_random=False)


def run_case(name, rng, folder, runner=run_in_child):
    """Run a case of a kind in a new folder, and return its ending and the words of the case."""
    kind, inside = kind_of(name), sandbox(folder)
    words = kind.prepare(rng, inside)
    return runner(lambda: kind.run(*words), inside, kind.confined), words


def ends_well(name, rng, runner=run_here):
    """Check that a case ends with success, a counted repair, or an error that names the mistake."""
    with tempfile.TemporaryDirectory() as folder:
        ending, words = run_case(name, rng, Path(folder) / "run", runner)
    logging.getLogger("visionkit").handlers.clear()  # a command adds one, which holds the stream of this case
    assert ending.kind not in FAULTS, f"{ending.kind}: {words}\n{ending.detail}"


def many_end_well(name, rng):
    """Check a case in a forked process."""
    torch.set_num_threads(1)  # threads do not survive a fork
    ends_well(name, rng, run_in_child)
