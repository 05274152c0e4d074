"""A file system of its own, which a test can fill."""

import subprocess
from contextlib import contextmanager

import pytest


@contextmanager
def small_disk(folder, size="2m"):
    """Mount a file system of `size` on a new folder; skips the test where that is not allowed."""
    folder.mkdir()
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, check=False
        )
    except OSError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip("mounting a file system is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
