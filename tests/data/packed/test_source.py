"""Packed data at an address: downloads, the cache, faults of the server, and what is read ahead."""

import time

import pytest

import visionkit as vk
from tests.helpers.file_server import file
from tests.helpers.packed_files import assert_same_dataset, serve_folder, write_uneven
from visionkit.data.datasets.packed import Packed
from visionkit.data.datasets.shapes import Shapes
from visionkit.data.packed import remote_files
from visionkit.data.packed.remote_files import join_url
from visionkit.data.packed.source import RemoteSource
from visionkit.errors import ConfigError, DataError, WriteError

pytest.importorskip("litdata")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folder of ten images in shards of one, four, two and three images."""
    return write_uneven(tmp_path_factory.mktemp("made") / "out", {"val": Shapes(count=10, size=32)}, [1, 4, 2, 3])


@pytest.fixture
def server(made):
    with serve_folder(made) as server:
        yield server


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(remote_files, "PAUSES", (0.0, 0.0))


@pytest.fixture
def opened(server, tmp_path):
    """A function that opens the data of the server."""

    def open_split(**options):
        return Packed(server.address, "val", stream=vk.StreamOptions(cache=str(tmp_path / "cache"), **options))

    return open_split


def downloads(server, suffix=".bin"):
    return [path for path, _ in server.asked if path.endswith(suffix)]


def test_data_at_an_address_equals_the_source_and_each_shard_is_loaded_once(opened, server):
    packed = opened()
    assert downloads(server) == []
    assert packed.annotation(3).boxes.shape[1] == 4
    assert downloads(server) == []
    assert_same_dataset(Shapes(count=10, size=32), packed)
    assert_same_dataset(Shapes(count=10, size=32), opened())
    assert sorted(downloads(server)) == [f"/val/part-{number}.bin" for number in range(4)]
    assert len(downloads(server, ".table")) == 5


def test_a_changed_dataset_is_loaded_anew(opened, server, tmp_path):
    assert opened()[0].image_id == 0
    other = write_uneven(tmp_path / "other", {"val": Shapes(count=4, size=32, split="other")}, [4])
    server.answers = {
        f"/{path.relative_to(other)}": file(path.read_bytes()) for path in other.rglob("*") if path.is_file()
    }
    assert_same_dataset(Shapes(count=4, size=32, split="other"), opened())


def test_a_failed_download_is_tried_again(opened, server):
    real, failed = server.answers["/val/part-0.bin"], []

    def fail_twice(handler):
        if len(failed) < 2:
            failed.append(1)
            handler.send_error(503)
        else:
            real(handler)

    server.answers["/val/part-0.bin"] = fail_twice
    assert opened()[0].image_id == 0
    assert len(failed) == 2


def test_an_interrupted_download_is_continued(opened, server, made):
    content = (made / "val" / "part-0.bin").read_bytes()
    whole, cut = file(content, ETag='"1"'), []

    def cut_once(handler):
        if cut:
            whole(handler)
        else:
            cut.append(1)
            handler.answer(content[:100], ETag='"1"', Content_Length=len(content))

    server.answers["/val/part-0.bin"] = cut_once
    assert opened()[0].image_id == 0
    assert [wanted for path, wanted in server.asked if path == "/val/part-0.bin"] == [None, "bytes=100-"]


FAULTS = {
    "a missing shard": ("/val/part-0.bin", None, r"http://.*/val/part-0.bin could not be downloaded: .*404"),
    "a missing index": ("/packed.json", None, r"http://.*/packed.json could not be downloaded: .*404"),
    "a missing table": ("/val/tags.table", None, r"http://.*/val/tags.table could not be downloaded: .*404"),
    "another index": ("/packed.json", b"{}", r"http://.*/packed.json is not the index of a packed dataset"),
    "a page": ("/packed.json", b"<!doctype html>", r"gave an HTML page instead of the file"),
    "another shard": ("/val/part-0.bin", b"x" * 100, "part-0.bin has the wrong sha256 and was removed"),
    "another table": ("/val/tags.table", b"x" * 100, "tags.table has the wrong sha256 and was removed"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_faults_are_errors_with_the_address(case, opened, server):
    path, content, message = FAULTS[case]
    if content is None:
        del server.answers[path]
    else:
        server.answers[path] = file(content)
    with pytest.raises(DataError, match=message) as caught:
        opened()[0]
    assert len(str(caught.value).splitlines()) <= 5
    asked = [asked for asked, _ in server.asked if asked == path]
    assert len(asked) == (1 if content is None else 3 if "wrong sha256" in message or "page" in message else 1)


def test_a_server_that_is_gone_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"http://127.0.0.1:9/data/packed.json could not be downloaded: .*refused"):
        Packed("http://127.0.0.1:9/data", "val", stream=vk.StreamOptions(cache=str(tmp_path)))


def test_a_shard_that_is_cut_off_in_the_cache_is_loaded_again(opened, server, tmp_path):
    assert opened()[0].image_id == 0
    (cached,) = (tmp_path / "cache").rglob("part-0.bin")
    cached.write_bytes(b"x")
    assert opened()[0].image_id == 0
    assert downloads(server) == ["/val/part-0.bin"] * 2


def test_a_small_cache_holds_two_windows_and_every_image_is_read(opened, server, made, tmp_path):
    sizes = sorted(path.stat().st_size for path in (made / "val").glob("*.bin"))
    limit = sizes[-1] + sizes[-2]
    packed = opened(window=1, cache_gb=limit / 1e9)
    for index in range(10):
        assert packed[index].image_id == index
        kept = sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*.bin"))
        assert kept <= limit
    with pytest.raises(ConfigError, match=r"data.stream.cache_gb=.* is too small for two windows of 2 shards"):
        opened(window=2, cache_gb=limit / 1e9)


def test_a_shard_that_is_read_soon_is_loaded_before(opened, server, tmp_path):
    packed = opened()
    for _ in range(3):
        packed.prefetch(9)
    packed.prefetch(0)
    deadline = time.monotonic() + 20
    while len(downloads(server)) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (packed[9].image_id, packed[0].image_id) == (9, 0)
    assert downloads(server) == ["/val/part-3.bin", "/val/part-0.bin"]


def test_faults_while_reading_ahead_appear_when_the_shard_is_read(opened, server):
    packed = opened()
    real = server.answers.pop("/val/part-3.bin")
    packed.prefetch(9)
    with pytest.raises(DataError, match="404"):
        packed[9]
    server.answers["/val/part-3.bin"] = real
    packed.prefetch(9)
    assert packed[9].image_id == 9


def test_loaders_read_ahead_in_training_and_evaluation(server, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(RemoteSource, "prefetch", lambda self, split, shard: asked.append(shard.file))
    splits = {"train": {"split": "val"}, "val": {"split": "val"}}
    stream = vk.StreamOptions(window=1, cache=str(tmp_path))
    data = vk.VisionData("packed", server.address, splits, stream=stream, num_workers=0)
    ids = [image_id for batch in data.val_dataloader() for image_id in batch.image_ids]
    assert ids == list(range(10))
    assert set(asked) == {f"part-{number}.bin" for number in (1, 2, 3)}
    asked.clear()
    assert len(list(data.train_dataloader())) == 5
    assert len(set(asked)) >= 2


def test_a_cache_that_cannot_be_written_is_an_error(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match=r"the cache .* cannot be written: Not a directory\nset data.stream.cache"):
        Packed(server.address, "val", stream=vk.StreamOptions(cache=str(tmp_path / "file" / "cache")))


def test_addresses_keep_their_query():
    assert join_url("https://host/a/b?key=1", "train", "x.bin") == "https://host/a/b/train/x.bin?key=1"
    assert join_url("s3://bucket/a/", "packed.json") == "s3://bucket/a/packed.json"
