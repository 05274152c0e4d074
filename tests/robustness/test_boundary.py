"""The endings of cases are named rightly."""

import os
import pickle
import subprocess
import sys
import time

import pytest

from tests.robustness.boundary import FaultError, Repaired, command, run_here, run_in_child, sandbox
from visionkit.errors import DataError


class Touch:
    def __reduce__(self):
        return os.system, ("touch ../canary",)


def fail(error):
    raise error


CASES = {
    "success": lambda: None,
    "repaired": lambda: fail(Repaired("2 boxes")),
    "refused": lambda: fail(DataError("the file is broken")),
    "traceback": lambda: fail(TypeError("no len()")),
    "message": lambda: fail(DataError("\n".join("abcdefgh"))),
    "memory": lambda: fail(MemoryError()),
}
EXECUTED = {
    "pickle": lambda: pickle.loads(pickle.dumps(Touch())),
    "write outside": lambda: open("../canary", "w").close(),
    "write far away": lambda: os.open("/var/tmp/visionkit-canary", os.O_WRONLY),
    "folder outside": lambda: os.mkdir("../canary"),
    "program": lambda: subprocess.run(["true"], check=False),
}


@pytest.mark.parametrize("runner", [run_here, run_in_child])
@pytest.mark.parametrize("kind", CASES)
def test_endings(kind, runner, tmp_path):
    assert runner(CASES[kind], sandbox(tmp_path / "run")).kind == kind


@pytest.mark.parametrize("runner", [run_here, run_in_child])
@pytest.mark.parametrize("way", EXECUTED)
def test_whatever_is_executed_or_written_elsewhere_is_found(way, runner, tmp_path):
    assert runner(EXECUTED[way], sandbox(tmp_path / "run")).kind == "executed"


def test_reading_elsewhere_is_found_where_it_is_not_allowed(tmp_path):
    folder = sandbox(tmp_path / "run")

    def read():
        open("../outside/secret.png", "rb").close()

    assert run_here(read, folder, confined=True).kind == "executed"
    assert run_here(read, folder).kind == "success"


def test_a_case_that_does_not_end_is_interrupted(tmp_path):
    assert run_here(lambda: time.sleep(9), sandbox(tmp_path / "run"), seconds=0.1).kind == "hang"


def test_a_process_that_takes_much_memory_or_dies_is_found(tmp_path):
    def take():
        return bytearray(1_800_000_000)

    assert run_in_child(take, sandbox(tmp_path / "a")).kind == "memory"
    ending = run_in_child(lambda: os.kill(os.getpid(), 9), sandbox(tmp_path / "b"))
    assert (ending.kind, ending.detail) == ("traceback", "the process was ended by signal 9")


def test_the_status_of_a_command_is_its_ending(tmp_path, monkeypatch):
    folder = sandbox(tmp_path / "run")
    assert run_here(lambda: command(["list", "models"]), folder).kind == "success"
    assert run_here(lambda: command(["fit", "gone.yaml"]), folder).kind == "refused"
    assert run_here(lambda: command(["fit", "--gone"]), folder).kind == "refused"
    monkeypatch.setattr("visionkit.cli.commands.fit.run_name", lambda words: fail(KeyError("x")))
    ending = run_here(lambda: command(["fit", "a.yaml"]), folder)
    assert ending.kind == "traceback"
    assert "KeyError" in ending.detail
    with pytest.raises(FaultError):
        command(["fit", "a.yaml"])


@pytest.mark.slow
def test_the_campaign_prints_a_table_and_repeats_itself(tmp_path):
    words = [sys.executable, "-m", "tests.robustness.campaign", "4", "5", "--kinds", "coco", "archives"]
    tables = [
        subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()[:-1] for _ in range(2)
    ]
    assert tables[0] == tables[1]
    assert [line.split()[0] for line in tables[0]] == ["kind", "coco", "archives", "all"]
    assert sum(map(int, tables[0][-1].split()[1:])) == 4
