"""The packed format: equal to its source bit for bit, in every process, and refused if it is damaged."""

import json
import os
import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

import visionkit as vk
from tests.helpers.every_format import FORMATS
from tests.helpers.export_source import write_source
from tests.helpers.packed_files import assert_same_dataset, write_packed, write_uneven
from tests.helpers.real_data import real_data
from visionkit.data.card_splits import CardSplits
from visionkit.data.datasets.packed import Packed
from visionkit.data.datasets.shapes import Shapes
from visionkit.data.io.fetch import sha256_of
from visionkit.data.packed.layout import IMAGE, INDEX, OBJECT
from visionkit.errors import ConfigError, DataError

pytest.importorskip("litdata")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folder of two splits of COCO images with masks."""
    folder = tmp_path_factory.mktemp("packed")
    return write_packed(folder / "out", write_source(folder / "source"))


@pytest.fixture
def folder(made, tmp_path):
    """A copy of it, to be damaged."""
    return shutil.copytree(made, tmp_path / "packed")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("depth", [None, 12])
def test_every_format_comes_back(name, depth, tmp_path):
    (tmp_path / "source").mkdir()
    options = {"val": FORMATS[name](tmp_path / "source")}
    masks = {"masks": True} if name == "coco" else {}
    card = CardSplits(name, str(tmp_path / "source"), {"val": {**options["val"], **masks}}, bit_depth=depth)
    write_packed(tmp_path / "out", {"val": card.dataset("val")})
    packed = CardSplits("packed", str(tmp_path / "out"), {"val": {"split": "val"}}, bit_depth=depth)
    assert_same_dataset(card.dataset("val"), packed.dataset("val"))


def test_masks_crowds_and_ids_come_back_in_every_split(made, tmp_path):
    sources = write_source(tmp_path)
    for split, source in sources.items():
        assert_same_dataset(source, Packed(made, split))
    packed = Packed(made, "val")
    assert [packed.image_id(index) for index in range(3)] == [70, 9, 12]
    assert packed.category_ids == [3, 17]


SETS = {
    "bccd": ("voc", {"image_set": "val"}),
    "voc2007-mini": ("voc", {"image_set": "val"}),
    "coco-mini": ("coco", {"annotations": "annotations/instances_val2017.json", "images": "val2017", "masks": True}),
    "camvid": ("masks", None),
}


@pytest.mark.parametrize("name", SETS)
def test_real_data_comes_back(name, tmp_path):
    format_name, options = SETS[name]
    if options is None:
        from visionkit.cli.config.compose import compose

        root = real_data(name)
        data = compose(["camvid", f"data.root={root}"]).values["data"]
        card = CardSplits(data["format"], data["root"], {"val": data["splits"]["val"]})
    else:
        card = CardSplits(format_name, str(real_data(name)), {"val": options})
    source = card.dataset("val")
    write_packed(tmp_path / "out", {"val": source}, shard_mb=1)
    packed = Packed(tmp_path / "out", "val")
    assert_same_dataset(source, packed)
    assert packed.shards().max() >= 1


def test_images_without_files_become_png_and_train_is_shuffled(tmp_path):
    source = Shapes(count=40, size=32)
    packed = Packed(write_packed(tmp_path / "out", {"train": source}), "train")
    assert_same_dataset(source, packed)
    order = [packed.image_id(index) for index in range(40)]
    assert order != list(range(40))
    assert packed.encoded(0).startswith(b"\x89PNG")


def test_image_files_are_stored_as_they_are(tmp_path):
    photo = tmp_path / "cat" / "a.jpg"
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / name / "a.jpg", exif=Image.Exif())
    source = CardSplits("folder", str(tmp_path), {"val": {"path": ""}}).dataset("val")
    packed = Packed(write_packed(tmp_path / "out", {"val": source}), "val")
    assert packed.encoded(0) == photo.read_bytes()
    again = Packed(write_packed(tmp_path / "again", {"val": packed}), "val")
    assert again.encoded(0) == photo.read_bytes()


def test_litdata_reads_the_shards(made):
    from litdata import StreamingDataset

    images = [bytes(item[0]) for item in StreamingDataset(str(made / "val"))]
    packed = Packed(made, "val")
    assert images == [packed.encoded(index) for index in range(3)]


def test_a_copy_for_another_process_maps_the_tables_anew(made):
    packed = Packed(made, "train")
    before = packed[1]
    copied = pickle.dumps(packed)
    assert len(copied) < 5000
    again = pickle.loads(copied)
    np.testing.assert_array_equal(again[1].image, before.image)


def test_a_folder_is_recognized(made, capsys):
    from visionkit.data.folder_card import card_of_folder

    card = card_of_folder(made)
    assert card.values["data"] == {
        "format": "packed",
        "root": str(made),
        "splits": {"train": {"split": "train"}, "val": {"split": "val"}},
    }


def test_held_out_and_joined_images_are_drawn_by_their_shards(tmp_path):
    folder = write_uneven(tmp_path / "out", {"train": Shapes(count=20, size=32)}, [3, 5])
    card = {"root": str(folder), "num_workers": 0, "batch_size": 2}
    held_out = vk.VisionData("packed", splits={"train": {"split": "train"}}, holdout=vk.HoldoutOptions(), **card)
    joined = vk.VisionData("packed", splits={"train": [{"split": "train"}, {"split": "train"}]}, **card)
    assert len(held_out.dataset("val")) + len(held_out.dataset("train")) == 20
    for data in (held_out, joined):
        sampler = data.train_dataloader().sampler
        assert type(sampler).__name__ == "ShardSampler"
        assert sorted(key.number for key in sampler) == list(range(len(data.dataset("train"))))
    assert joined.train_dataloader().sampler.shards.max() == 11


def test_balanced_sampling_works_too(tmp_path):
    source = Shapes(count=20, size=32, max_objects=1, empty_share=0.0)
    data = vk.VisionData(
        "packed",
        str(write_packed(tmp_path / "out", {"train": source})),
        {"train": {"split": "train"}},
        sampling="balanced",
        num_workers=0,
    )
    assert len(list(data.train_dataloader())) == 10


def rewrite(folder, change):
    """Change the parsed index."""
    content = json.loads((folder / INDEX).read_text())
    change(content)
    (folder / INDEX).write_text(json.dumps(content))


def rewrite_table(folder, name, kind, change):
    """Change the rows of a table of `val`, and its digest in the index."""
    path = folder / "val" / f"{name}.table"
    rows = np.fromfile(path, kind)
    change(rows)
    rows.tofile(path)
    digest = {"sha256": sha256_of(path)}
    rewrite(folder, lambda content: content["splits"]["val"]["tables"][name].update(digest))


def column(name, value):
    def change(rows):
        rows[name][0] = value

    return change


TABLES = {
    "a label too large": ("objects", OBJECT, column("label", 2), "labels outside 0 to 1"),
    "a negative label": ("objects", OBJECT, column("label", -1), "labels outside 0 to 1"),
    "NaN": ("objects", OBJECT, column("box", np.nan), "a box without area, outside of its image, or with NaN"),
    "a box outside": ("objects", OBJECT, column("box", [0, 0, 64.5, 48]), "outside of its image"),
    "an infinite area": ("objects", OBJECT, column("area", np.inf), "an area that is negative or not finite"),
    "an image label too large": ("images", IMAGE, column("label", 9), "labels outside"),
    "no pixels": ("images", IMAGE, column("height", 0), "no pixels"),
    "ends out of order": ("images", IMAGE, column("objects_end", 10**9), "does not fit the others"),
    "a negative end": ("images", IMAGE, column("texts_end", -1), "does not fit the others"),
    "masks beyond the end": ("objects", OBJECT, column("masks_end", 10**9), "does not fit the others"),
}


@pytest.mark.parametrize("case", TABLES)
def test_impossible_values_of_tables_are_refused(case, folder):
    name, kind, change, message = TABLES[case]
    rewrite_table(folder, name, kind, change)
    with pytest.raises(DataError, match=message):
        Packed(folder, "val")


def test_values_that_are_read_with_the_image_are_checked_then(folder):
    rewrite_table(folder, "images", IMAGE, column("width", 65))
    with pytest.raises(DataError, match="run-length code that is not of its size"):
        Packed(folder, "val").annotation(0)
    rewrite_table(folder, "images", IMAGE, column("flags", 0))
    with pytest.raises(DataError, match=r"48 x 64 pixels, but its table says \(48, 65\)"):
        Packed(folder, "val")[0]
    rewrite_table(folder, "texts", np.uint8, lambda rows: rows.fill(ord("x")))
    with pytest.raises(DataError, match="has no id and file name"):
        Packed(folder, "val").image_id(0)
    rewrite_table(folder, "texts", np.uint8, lambda rows: rows.fill(ord("1")))
    with pytest.raises(DataError, match="has no id and file name"):
        Packed(folder, "val")[0]


def test_a_split_name_a_folder_or_other_classes_are_refused(made, tmp_path):
    with pytest.raises(DataError, match=r"no split 'vall'; did you mean val\?; it has train, val"):
        Packed(made, "vall")
    with pytest.raises(DataError, match=r"folder .* does not exist"):
        Packed(tmp_path / "gone", "val")
    with pytest.raises(DataError, match=r"needs data.root, a folder or an URL\nan URL is not taken from a checkpoint"):
        Packed(None, "val")
    with pytest.raises(DataError, match=r"data.classes must be left out"):
        Packed(made, "val", classes=["dog"])
    with pytest.raises(ConfigError, match="has the scheme ftp"):
        Packed("ftp://host/data", "val")


def test_options_of_packed_data_are_refused_for_other_formats():
    for arguments, message in (
        ({"root": "https://host/data"}, "is an URL, and the format folder is read from a folder"),
        ({"root": ".", "stream": vk.StreamOptions()}, "stream is for the format packed, not for folder"),
    ):
        with pytest.raises(ConfigError, match=message):
            vk.VisionData("folder", splits={"train": {"path": "."}}, **arguments).dataset("train")


def test_a_damaged_shard_is_an_error_that_names_it(folder):
    shard = folder / "val" / "chunk-0-0.bin"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert Packed(folder, "val")[0].size == (48, 64)
    with pytest.raises(DataError, match=r"chunk-0-0.bin: item 2 has the wrong checksum\nthe file is damaged"):
        Packed(folder, "val")[2]
    shard.write_bytes(whole[:-1])
    with pytest.raises(DataError, match=r"chunk-0-0.bin has \d+ bytes, but its index says \d+"):
        Packed(folder, "val")[0]
    shard.unlink()
    with pytest.raises(DataError, match=r"the shard .* does not exist"):
        Packed(folder, "val")[0]
    os.mkfifo(shard)
    with pytest.raises(DataError, match="is not a regular file"):
        Packed(folder, "val")[0]


@pytest.mark.parametrize("place", [4, 8, 12, 20, 24])
def test_a_foreign_layout_of_a_shard_is_an_error(place, folder):
    shard = folder / "val" / "chunk-0-0.bin"
    data = bytearray(shard.read_bytes())
    data[place : place + 4] = b"\xff\xff\xff\xff"
    shard.write_bytes(data)
    packed = Packed(folder, "val")
    with pytest.raises(DataError, match=r"lies outside of the file|wrong checksum|is cut off"):
        _ = [packed[index] for index in range(3)]


def test_a_changed_or_missing_table_is_an_error(folder):
    table = folder / "val" / "texts.table"
    table.write_bytes(table.read_bytes().replace(b"a b", b"a c"))
    with pytest.raises(DataError, match=r"texts.table is not the file that packed.json describes"):
        Packed(folder, "val")
    table.unlink()
    with pytest.raises(DataError, match=r"the table .* does not exist"):
        Packed(folder, "val")
