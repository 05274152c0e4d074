import itertools
import multiprocessing
import os
import random
import time

import pytest
import torch

from tests.helpers.small_disk import small_disk
from visionkit.data.io import atomic_write as module
from visionkit.data.io.atomic_write import atomic_write, remove_leftovers, write_text
from visionkit.errors import VisionkitError, WriteError


def test_a_file_is_replaced_at_the_end_of_the_block(tmp_path):
    path = tmp_path / "new" / "a.txt"
    write_text(path, "one")
    with atomic_write(path) as file:
        file.write(b"two")
        file.flush()
        assert path.read_text() == "one"
    assert path.read_text() == "two"
    assert os.listdir(path.parent) == ["a.txt"]


def test_an_error_in_the_block_keeps_the_previous_file_and_its_own_type(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "one")
    with pytest.raises(FileNotFoundError), atomic_write(path) as file:
        file.write((tmp_path / "gone").read_bytes())
    assert path.read_text() == "one"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_the_mode_is_that_of_an_ordinary_file(tmp_path):
    (tmp_path / "ordinary").touch()
    write_text(tmp_path / "a.txt", "one")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_a_full_disk_keeps_the_previous_file_and_says_why(tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        path = disk / "a.pt"
        torch.save({"weight": torch.ones(10)}, path)
        message = r"a\.pt could not be written: No space left .*\nthe previous file is kept"
        with pytest.raises(WriteError, match=message), atomic_write(path) as file:
            torch.save({"weight": torch.ones(1_000_000)}, file)
        assert os.listdir(disk) == ["a.pt"]
        assert len(torch.load(path, weights_only=True)["weight"]) == 10


class Full(module._TemporaryFile):
    """A file on a disk that is full after some bytes."""

    left = 1000

    def write(self, data):
        self.left -= len(data)
        if self.left < 0:
            self.error = OSError(28, "No space left on device")
            raise self.error
        return super().write(data)


def test_a_failing_write_keeps_the_previous_file(tmp_path, monkeypatch):
    path = tmp_path / "a.pt"
    write_text(path, "one")
    monkeypatch.setattr(module, "_TemporaryFile", Full)
    with pytest.raises(WriteError, match="No space left"), atomic_write(path) as file:
        torch.save({"weight": torch.ones(100_000)}, file)
    assert path.read_text() == "one"
    assert os.listdir(tmp_path) == ["a.pt"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failure_at_the_end_keeps_the_previous_file(call, tmp_path, monkeypatch):
    def fail(*args):
        raise OSError(5, "Input/output error")

    path = tmp_path / "a.txt"
    write_text(path, "one")
    monkeypatch.setattr(*((os, "fsync") if call == "fsync" else (module.Path, "replace")), fail)
    with pytest.raises(WriteError, match="Input/output error"):
        write_text(path, "two")
    assert path.read_text() == "one"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_content_is_on_the_disk_before_the_file_is_replaced(tmp_path, monkeypatch):
    calls = []
    sync, replace = os.fsync, module.Path.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: calls.append("sync") or sync(descriptor))
    monkeypatch.setattr(module.Path, "replace", lambda *args: calls.append("replace") or replace(*args))
    write_text(tmp_path / "a.txt", "one")
    assert calls == ["sync", "replace", "sync"]


def test_a_folder_that_cannot_be_made_is_an_error_of_ours(tmp_path):
    (tmp_path / "a").write_text("a file")
    with pytest.raises(VisionkitError, match="could not be written"):
        write_text(tmp_path / "a" / "b.txt", "one")


def write_forever(path, written):
    for number in itertools.count():
        with atomic_write(path) as file:
            torch.save({"weight": torch.full((200_000,), float(number))}, file)
        written.set()


def test_a_killed_process_leaves_a_whole_file_and_no_leftovers(tmp_path):
    """At whatever moment the process is killed, the file can be loaded. The next writer removes what was left."""
    path, draw, killed_while_writing = tmp_path / "a.pt", random.Random(0), 0
    forking = multiprocessing.get_context("fork")
    for _ in range(4):
        path.unlink(missing_ok=True)
        written = forking.Event()
        process = forking.Process(target=write_forever, args=(path, written))
        process.start()
        assert written.wait(60)
        time.sleep(draw.random() * 0.1)
        deadline = time.monotonic() + 5
        while len(os.listdir(tmp_path)) == 1 and time.monotonic() < deadline:
            pass  # kill it in the middle of a write
        process.kill()
        process.join()
        weight = torch.load(path, weights_only=True)["weight"]
        assert len(weight) == 200_000
        assert (weight == weight[0]).all()
        killed_while_writing += len(os.listdir(tmp_path)) > 1
        remove_leftovers(tmp_path)
        assert os.listdir(tmp_path) == ["a.pt"]
    assert killed_while_writing


def test_leftovers_are_removed_by_the_next_writer_but_not_the_files_of_a_living_one(tmp_path):
    leftover = tmp_path / ".a.pt.0123abcd.visionkit-tmp"
    leftover.write_text("half a file")
    (tmp_path / ".other.tmp").write_text("of another program")
    with atomic_write(tmp_path / "b.txt") as file:
        assert not leftover.exists()
        remove_leftovers(tmp_path)
        file.write(b"two")
    assert sorted(os.listdir(tmp_path)) == [".other.tmp", "b.txt"]
    assert (tmp_path / "b.txt").read_text() == "two"
