import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from visionkit.cli import unexpected
from visionkit.cli.main import main
from visionkit.cli.unexpected import describe, log_errors_in, place_of, report_unexpected, write_log
from visionkit.errors import ConfigError


@pytest.fixture(autouse=True)
def temp_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def raised(error):
    try:
        raise error
    except type(error) as caught:
        return caught


CAUGHT = """Caught KeyError in DataLoader worker process 0.
Original Traceback (most recent call last):
  File "/x/site-packages/torch/utils/data/_utils/worker.py", line 351, in _worker_loop
    data = fetcher.fetch(index)
  File "{file}", line 12, in __getitem__
    return self.names[index]
KeyError: 'cat'"""

CASES = [
    (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "the memory of the GPU is full", "data.batch_size"),
    (RuntimeError("DataLoader worker (pid(s) 12) exited unexpectedly"), "a process that reads", "num_workers"),
    (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), "a process that reads", "num_workers"),
    (RuntimeError("unable to write to file </torch_1>: /dev/shm full"), "shared memory", "--shm-size"),
    (MemoryError(), "the memory of the machine is full", "inference.tile"),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "the memory of the machine is full", "batch_size"),
    (OSError(errno.ENOSPC, "No space left on device", "best.ckpt"), "the disk is full", "best.ckpt"),
    (PermissionError(errno.EACCES, "Permission denied", "a.csv"), "a.csv: Permission denied", "may be used"),
    (RecursionError("maximum recursion depth exceeded"), "nested too deeply", "input files"),
    (ModuleNotFoundError("No module named 'onnx'"), "a package is missing", "onnx"),
    (RuntimeError("NCCL error: unhandled system error"), "another process", "above"),
    (KeyError("cat"), "KeyError: cat", "this is a bug in visionkit"),
    (AssertionError(), "AssertionError", "this is a bug in visionkit"),
    (ValueError("a\n" * 500), "ValueError: a a", "this is a bug in visionkit"),
]


@pytest.mark.parametrize(("error", "what", "advice"), CASES, ids=[type(error).__name__ for error, *_ in CASES])
def test_an_unexpected_error_is_told_in_five_lines_and_logged(error, what, advice, capsys, temp_folder, monkeypatch):
    monkeypatch.setattr(unexpected, "place_of", lambda _: str(Path(unexpected.__file__).parent / "main.py:3"))
    assert report_unexpected(raised(error)) == 3
    printed = capsys.readouterr().err
    assert len(printed.splitlines()) <= 5
    assert what in printed.splitlines()[0]
    assert advice in printed
    log = temp_folder / "visionkit-error.log"
    assert str(log) in printed
    assert f"{type(error).__name__}" in log.read_text()
    assert "Traceback" in log.read_text()
    assert all(len(line) < 400 for line in printed.splitlines())


def test_the_log_of_a_run_lies_in_its_folder(tmp_path, capsys):
    folder = tmp_path / "run"
    folder.mkdir()
    with pytest.raises(KeyError) as error, log_errors_in(folder):
        raise KeyError("x")
    report_unexpected(error.value)
    assert str(folder / "error.log") in capsys.readouterr().err
    assert "KeyError" in (folder / "error.log").read_text()
    report_unexpected(KeyError("another"))
    assert "another" not in (folder / "error.log").read_text(), "the folder is forgotten"


def test_a_log_of_another_user_is_not_touched(temp_folder):
    target = temp_folder / "precious"
    target.write_text("precious")
    os.symlink(target, temp_folder / "visionkit-error.log")
    path = write_log(KeyError("x"))
    assert path is not None
    assert path.name == f"{os.getpid()}-visionkit-error.log"
    assert target.read_text() == "precious"


def test_without_any_log_the_message_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    assert report_unexpected(KeyError("x")) == 3
    assert "--debug" in capsys.readouterr().err


def test_an_error_of_a_loader_process_has_its_last_line_and_its_place():
    file = Path(unexpected.__file__).parent.parent / "data" / "batch.py"
    lines = describe(raised(RuntimeError(CAUGHT.format(file=file))))
    assert lines[0] == "visionkit: KeyError: 'cat'"
    assert lines[1] == f"  {file}:12"
    assert "bug in visionkit" in lines[2]


def test_an_error_in_the_code_of_the_user_is_not_called_a_bug_of_visionkit(tmp_path):
    plugin = tmp_path / "plugin.py"
    plugin.write_text("def act():\n    return [][1]\n")
    scope = {}
    exec(compile(plugin.read_text(), str(plugin), "exec"), scope)
    with pytest.raises(IndexError) as error:
        scope["act"]()
    assert place_of(error.value) == f"{plugin}:2"
    assert "outside of visionkit" in describe(error.value)[-1]


@pytest.mark.parametrize("error", [KeyError("x"), MemoryError(), OSError(5, "Input/output error"), RecursionError()])
def test_the_command_line_ends_with_3(error, monkeypatch, capsys):
    monkeypatch.setattr("visionkit.cli.commands.list.run", lambda _: (_ for _ in ()).throw(error))
    monkeypatch.setattr("visionkit.cli.main.check_words", lambda _: (_ for _ in ()).throw(error))
    assert main(["list"]) == 3
    assert "Traceback" not in capsys.readouterr().err
    with pytest.raises(type(error)):
        main(["list", "--debug"])


def test_errors_of_visionkit_still_end_with_2(monkeypatch):
    def refuse(_):
        raise ConfigError("wrong")

    monkeypatch.setattr("visionkit.cli.main.check_words", refuse)
    assert main(["list"]) == 2


def test_a_closed_output_ends_quietly():
    done = subprocess.run(
        f"{sys.executable} -m visionkit list | true; exit ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 141
    assert done.stderr == ""
