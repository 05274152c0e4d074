"""Packed datasets for tests, and a web server that has their files."""

import json
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.file_server import serve
from visionkit.data.packed.layout import INDEX


def write_packed(folder, datasets, **options):
    """Pack datasets by split into a new folder, and return it."""
    pytest.importorskip("litdata")
    from visionkit.data.packed.writer import PackOptions, pack

    pack(datasets, folder, PackOptions(**options))
    return folder


def write_uneven(folder, datasets, sizes):
    """Pack datasets, and then cut each split again into shards of these numbers of images."""
    write_packed(folder, datasets)
    index = json.loads((folder / INDEX).read_text())
    for split, content in index["splits"].items():
        (whole,) = content["shards"]
        content["shards"] = _cut(folder / split, whole, sizes)
    (folder / INDEX).write_text(json.dumps(index))
    return folder


def _cut(folder, whole, sizes):
    from visionkit.data.io.fetch import sha256_of

    data = (folder / whole["file"]).read_bytes()
    starts = np.frombuffer(data[4 : 4 * (whole["images"] + 2)], "<u4")
    shards, first = [], 0
    for number in range(whole["images"]):
        count = min(sizes[number % len(sizes)], whole["images"] - first)
        items = [data[starts[row] : starts[row + 1]] for row in range(first, first + count)]
        header = 4 * (count + 2)
        places = np.cumsum([header, *map(len, items)]).astype("<u4")
        path = folder / f"part-{number}.bin"
        path.write_bytes(np.uint32(count).tobytes() + places.tobytes() + b"".join(items))
        shards.append({"file": path.name, "bytes": path.stat().st_size, "sha256": sha256_of(path), "images": count})
        first += count
        if first == whole["images"]:
            break
    (folder / whole["file"]).unlink()
    return shards


@contextmanager
def serve_folder(folder: Path):
    """Yield a web server that has all files of a folder."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with serve(**files) as server:
        yield server


def assert_same_annotation(first, second):
    """Compare two annotations bit for bit, and their types."""
    for name in ("boxes", "labels", "crowd", "difficult", "area"):
        one, other = getattr(first, name), getattr(second, name)
        assert type(one) is type(other) is np.ndarray
        assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes()), name
    assert (first.masks is None) == (second.masks is None)
    for one, other in zip(first.masks or [], second.masks or [], strict=True):
        assert list(one["size"]) == list(other["size"])
        assert _bytes(one["counts"]) == _bytes(other["counts"])


def _bytes(counts):
    return counts.encode() if isinstance(counts, str) else counts


def assert_same_array(first, second):
    """Compare two arrays, or None, bit for bit."""
    assert (first is None) == (second is None)
    if first is not None:
        assert (first.dtype, first.shape, first.tobytes()) == (second.dtype, second.shape, second.tobytes())


def assert_same_dataset(source, packed):
    """Compare every sample of two datasets, whose images may be in different order, and all that needs no decoding."""
    assert (packed.class_names, packed.category_ids) == (source.class_names, source.category_ids)
    assert packed.class_colors == source.class_colors
    assert len(packed) == len(source)
    places = {packed.image_id(index): index for index in range(len(packed))}
    for index in range(len(source)):
        place = places[source.image_id(index)]
        first, second = source[index], packed[place]
        assert (first.image_id, first.file_name, first.label) == (second.image_id, second.file_name, second.label)
        for name in ("image", "semantic", "tags"):
            assert_same_array(getattr(first, name), getattr(second, name))
        assert_same_annotation(first.annotation, second.annotation)
        assert_same_annotation(first.annotation, packed.annotation(place))
        assert first.size == packed.image_size(place)
        assert source.label(index) == packed.label(place)
        assert source.has_semantic(index) == packed.has_semantic(place)
        assert_same_array(source.tags(index), packed.tags(place))
        assert_same_array(source.semantic(index), packed.semantic(place))
