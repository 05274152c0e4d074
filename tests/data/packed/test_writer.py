"""Writing packed data: shards, their size, smaller images, and what is left when it fails."""

import io
import multiprocessing
import os
import signal
import sys
import time

import numpy as np
import pytest
from PIL import Image

from tests.helpers.packed_files import write_packed
from tests.helpers.process_copies import START_METHOD
from visionkit.data.datasets.folder import FolderDataset
from visionkit.data.datasets.packed import Packed
from visionkit.data.datasets.shapes import Shapes
from visionkit.data.datasets.subset import SubsetDataset
from visionkit.data.packed.writer import PackOptions, pack
from visionkit.errors import ConfigError, DataError, VisionkitError, WriteError


@pytest.fixture
def photos(tmp_path):
    """Folder of six photos of 300 x 200 pixels with noise, in two classes."""
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(3):
            pixels = random.integers(0, 255, (200, 300, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    return FolderDataset(tmp_path / "photos", "")


def test_shards_are_of_about_the_given_size(photos, tmp_path):
    out = tmp_path / "out"
    index = pack({"val": photos}, write_or_skip(out), PackOptions(shard_mb=1))
    shards = index.splits["val"].shards
    assert len(shards) >= 2
    assert sum(shard.images for shard in shards) == 6
    assert all(2 * 180_000 < shard.bytes < 1_400_000 for shard in shards[:-1])


def write_or_skip(path):
    pytest.importorskip("litdata")
    return path


def test_larger_images_become_jpeg_of_the_short_side(photos, tmp_path):
    Image.new("RGB", (50, 40)).save(tmp_path / "photos" / "cat" / "small.png")
    source = FolderDataset(tmp_path / "photos", "")
    packed = Packed(write_packed(tmp_path / "out", {"val": source}, short_side=100, quality=50), "val")
    by_name = {packed[index].file_name: index for index in range(7)}
    large, small = packed.encoded(by_name["cat/0.png"]), packed.encoded(by_name["cat/small.png"])
    assert packed.image_size(by_name["cat/0.png"]) == (100, 150)
    assert Image.open(io.BytesIO(large)).format == "JPEG"
    assert small == (tmp_path / "photos" / "cat" / "small.png").read_bytes()
    better = Packed(write_packed(tmp_path / "better", {"val": source}, short_side=100, quality=95), "val")
    assert len(better.encoded(by_name["cat/0.png"])) > 1.5 * len(large)


def test_several_processes_write_the_same(tmp_path):
    source = {"train": Shapes(count=12, size=32)}
    folders = [write_packed(tmp_path / str(workers), source, workers=workers) for workers in (0, 2)]
    contents = [
        {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "index.json"}
        for folder in folders
    ]
    assert contents[0] == contents[1]


def test_a_job_of_several_processes_does_not_confuse_litdata(tmp_path, monkeypatch):
    for name, value in (("WORLD_SIZE", "4"), ("GLOBAL_RANK", "2"), ("NNODES", "2")):
        monkeypatch.setenv(name, value)
    packed = Packed(write_packed(tmp_path / "out", {"val": Shapes(count=3, size=32)}), "val")
    assert packed[2].image_id == 2


@pytest.mark.parametrize(
    "options", [{"shard_mb": 0}, {"shard_mb": 2001}, {"short_side": 0}, {"quality": 0}, {"quality": 101}]
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match="must be"):
        PackOptions(**options)


def test_a_broken_image_ends_it_and_leaves_nothing(photos, tmp_path):
    (tmp_path / "photos" / "dog" / "1.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"dog/1.png"):
        write_packed(tmp_path / "out", {"val": FolderDataset(tmp_path / "photos", "")}, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_splits_without_images_or_with_other_classes_are_refused(photos, tmp_path):
    with pytest.raises(DataError, match="val has no images to pack"):
        write_packed(tmp_path / "out", {"val": SubsetDataset(photos, [])})
    with pytest.raises(DataError, match="train and val have different classes"):
        write_packed(tmp_path / "out", {"train": Shapes(count=3, size=32), "val": photos})
    with pytest.raises(WriteError, match="exists already"):
        write_packed(tmp_path / "photos", {"val": photos})


def _pack(out):
    os.chdir(out.parent)
    pack({"val": Shapes(count=100_000, size=32)}, out, PackOptions())


def test_a_killed_process_leaves_no_folder_that_looks_whole(tmp_path):
    out = write_or_skip(tmp_path / "out")
    child = multiprocessing.get_context(START_METHOD).Process(target=_pack, args=(out,))
    child.start()
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".out.*/val/images.table")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".out.")
    assert not (left / "packed.json").exists()


def test_without_litdata_the_error_says_how_to_install_it(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("litdata")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "litdata", None)
    with pytest.raises(VisionkitError, match=r'packed datasets need LitData.*pip install "visionkit\[stream\]"'):
        pack({"val": Shapes(count=1, size=32)}, tmp_path / "out", PackOptions())
    assert list(tmp_path.iterdir()) == []
