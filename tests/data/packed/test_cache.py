"""The cache of shards: one download for all processes and threads, and the least recently used go first."""

import multiprocessing
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.helpers.process_copies import START_METHOD
from visionkit.data.packed.cache import SHARDS, ShardCache
from visionkit.errors import WriteError


def shard(folder, name, split="train"):
    return folder / "data" / split / SHARDS / name


def write(path, size=10):
    path.write_bytes(bytes(size))


def slow(path):
    time.sleep(0.2)
    with (path.parent.parent / "downloads").open("a") as file:
        file.write("x")
    write(path)


def get_slowly(folder):
    return ShardCache(folder, 100).get(shard(folder, "a.bin"), 10, slow)


def age(path, seconds):
    os.utime(path, (time.time() - seconds,) * 2)


def test_threads_and_processes_wait_for_one_download(tmp_path):
    with ThreadPoolExecutor(4) as threads:
        found = set(threads.map(get_slowly, [tmp_path] * 4))
    assert found == {shard(tmp_path, "a.bin")}
    other = tmp_path / "other"
    children = [multiprocessing.get_context(START_METHOD).Process(target=get_slowly, args=(other,)) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    for folder in (tmp_path, other):
        assert (shard(folder, "").parent / "downloads").read_text() == "x"


def test_files_that_were_not_used_for_longest_make_room(tmp_path):
    cache = ShardCache(tmp_path, 35)
    paths = [
        shard(tmp_path, f"{name}.bin", split) for name, split in zip("abc", ("train", "val", "train"), strict=True)
    ]
    for seconds, path in zip((30, 20, 10), paths, strict=True):
        cache.get(path, 10, write)
        age(path, seconds)
    cache.get(paths[0], 10, write)  # used now
    cache.get(shard(tmp_path, "d.bin"), 10, write)
    assert [path.exists() for path in paths] == [True, False, True]


def test_a_file_that_another_process_reads_can_be_removed(tmp_path):
    cache = ShardCache(tmp_path, 10)
    with cache.get(shard(tmp_path, "a.bin"), 10, write).open("rb") as file:
        cache.get(shard(tmp_path, "b.bin"), 10, write)
        assert not shard(tmp_path, "a.bin").exists()
        assert len(file.read()) == 10


def test_nothing_else_in_the_folder_is_removed(tmp_path):
    cache = ShardCache(tmp_path, 10)
    table = tmp_path / "data" / "train" / "images.table"
    cache.get(table, 0, write)
    mine = tmp_path / "mine.bin"
    write(mine)
    for name in ("a.bin", "b.bin"):
        cache.get(shard(tmp_path, name), 10, write)
    assert mine.exists()
    assert table.exists()
    assert not shard(tmp_path, "a.bin").exists()


def test_a_failed_download_leaves_no_file_and_is_tried_again(tmp_path):
    def fail(path):
        raise RuntimeError

    cache = ShardCache(tmp_path, 100)
    with pytest.raises(RuntimeError):
        cache.get(shard(tmp_path, "a.bin"), 10, fail)
    assert cache.get(shard(tmp_path, "a.bin"), 10, write).stat().st_size == 10


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "data").write_text("a file")
    with pytest.raises(WriteError, match=r"the cache .* cannot be written: Not a directory"):
        ShardCache(tmp_path, 100).get(shard(tmp_path, "a.bin"), 10, write)
