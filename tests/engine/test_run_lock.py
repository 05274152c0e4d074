import subprocess
import sys

import pytest

from visionkit.engine.run_lock import run_lock
from visionkit.errors import VisionkitError, WriteError

HOLD = """
import sys, pathlib, os
from visionkit.engine.run_lock import run_lock
with run_lock(pathlib.Path(sys.argv[1])):
    if os.fork() == 0:  # like a loader process, which outlives a killed parent
        sys.stdin.read()
        os._exit(0)
    print(os.getpid(), flush=True)
    sys.stdin.read()
"""


def test_the_lock_is_held_by_one_process_until_it_dies(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    number = process.stdout.readline().strip()
    with pytest.raises(VisionkitError, match=f"is being trained by process {number} on "), run_lock(tmp_path):
        pass
    process.kill()
    process.wait()
    with run_lock(tmp_path):
        pass
    process.stdin.close()


def test_the_lock_is_free_after_the_run(tmp_path):
    for _ in range(2):
        with run_lock(tmp_path):
            pass


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(WriteError, match="cannot be written"), run_lock(tmp_path / "gone"):
        pass
