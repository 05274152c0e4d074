"""Killed runs always leave a loadable checkpoint, and equal the uninterrupted run after they are resumed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import json, sys, torch
from pathlib import Path
import visionkit.cli.training
from tests.robustness.kills import run_campaign

torch.set_num_threads(1)
kills, seed, folder, workers = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
campaign = run_campaign(kills, seed, folder, num_workers=workers)
print("FOUND", json.dumps([campaign.kills, campaign.finished, campaign.states, campaign.differences]))
"""


def kill(kills, seed, folder, workers=0, temporary=None):
    """Run a campaign in a process that may fork, and return its counts."""
    environment = {**os.environ, "PYTHONPATH": ".", **({"TMPDIR": str(temporary)} if temporary else {})}
    words = [sys.executable, "-c", SCRIPT, str(kills), str(seed), str(folder), str(workers)]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith("FOUND"))[6:])


def test_a_run_that_is_killed_a_few_times_ends_as_without_kills(tmp_path):
    kills, _, states, differences = kill(3, 5, tmp_path)
    assert (kills, sum(states.values()), differences) == (3, 3, [])


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_fifty_kills_on_one_file_system_lose_nothing(workers, tmp_path):
    kills, finished, states, differences = kill(50, workers, tmp_path, workers)
    assert (kills, differences) == (50, [])
    assert finished > 5
    assert states["while writing a file"]
    assert states["between writes"]


@pytest.mark.slow
def test_fifty_kills_on_two_file_systems_lose_nothing(tmp_path):
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system")
    kills, finished, _, differences = kill(50, 7, tmp_path, temporary=memory)
    assert (kills, differences) == (50, [])
    assert finished > 5
