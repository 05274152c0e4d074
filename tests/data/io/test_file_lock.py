import errno
import fcntl
import subprocess
import sys

import pytest

from visionkit.data.io.file_lock import try_lock

TRY = """
import sys
from visionkit.data.io.file_lock import try_lock
with open(sys.argv[1], "ab") as file:
    print(try_lock(file), flush=True)
    sys.stdin.read()
"""


def other_process(path):
    return subprocess.Popen([sys.executable, "-c", TRY, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_the_lock_is_held_by_one_process_until_it_dies(tmp_path):
    path = tmp_path / "file"
    process = other_process(path)
    assert process.stdout.readline() == "True\n"
    with path.open("ab") as file:
        assert not try_lock(file)
        process.kill()
        process.wait()
        assert try_lock(file)


def test_the_lock_ends_when_the_file_is_closed(tmp_path):
    path = tmp_path / "file"
    with path.open("ab") as file:
        assert try_lock(file)
        assert other_process(path).communicate()[0] == "False\n"
    assert other_process(path).communicate()[0] == "True\n"


@pytest.mark.parametrize(
    ("number", "locked"), [(errno.EAGAIN, False), (errno.EACCES, False), (errno.ENOLCK, True), (errno.ENOTSUP, True)]
)
def test_a_file_system_without_locks_is_told_from_a_taken_lock(number, locked, tmp_path, monkeypatch):
    def fail(file, operation):
        raise OSError(number, "not locked")

    monkeypatch.setattr(fcntl, "lockf", fail)
    with (tmp_path / "file").open("ab") as file:
        assert try_lock(file) == locked
