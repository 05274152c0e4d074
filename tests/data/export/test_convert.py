"""Conversion into every format, and the comparison of what is read back."""

import os
from pathlib import Path

import pytest
import yaml
from PIL import Image

from tests.helpers.export_source import IDS, OBJECTS, pixels, write_as, write_source
from visionkit.data.datasets.shapes import Shapes
from visionkit.data.export import convert as convert_module
from visionkit.data.export.base import writers
from visionkit.data.export.compare import compare, open_split
from visionkit.data.export.convert import CARD, plan_splits
from visionkit.errors import DataError, WriteError

DETECTION = ["coco", "voc", "yolo", "labelme", "cvat"]


@pytest.mark.parametrize("name", DETECTION)
def test_what_is_read_back_agrees(name, tmp_path):
    plans, converted = write_as(name, write_source(tmp_path / "source"), tmp_path / "out")
    tables = compare(plans, writers.get(name), converted)
    assert {split: [row for row in rows if not row.agrees] for split, rows in tables.items()} == {
        "train": [],
        "val": [],
    }
    by_quantity = {row.quantity: row for row in tables["train"]}
    assert by_quantity["images"].result == "3"
    assert by_quantity["objects"].result == str(len(OBJECTS) - (name != "coco"))
    assert ("mask IoU" in by_quantity) == (name != "voc")


@pytest.mark.parametrize("name", DETECTION)
def test_a_mask_without_pixels_is_no_difference(name, tmp_path):
    """The polygon of a thin object can cover no pixel's center."""
    source = write_source(tmp_path / "source", extra=[("cat", [40, 44, 8, 1.5], pixels(), 0)])
    plans, converted = write_as(name, source, tmp_path / "out")
    assert all(row.agrees for row in compare(plans, writers.get(name), converted)["train"])


@pytest.mark.parametrize("name", DETECTION)
def test_the_card_reads_the_result(name, tmp_path):
    _, converted = write_as(name, write_source(tmp_path / "source"), tmp_path / "out")
    card = yaml.safe_load((tmp_path / "out" / CARD).read_text())["data"]
    assert card == converted.data
    dataset = open_split(converted, "train", writers.get(name))
    assert dataset.class_names == ["traffic light", "cat"]
    assert dataset[0].image.shape == (48, 64, 3)
    assert dataset.category_ids == ([3, 17] if name == "coco" else [1, 2])


def test_the_source_is_read_without_its_masks(tmp_path):
    plans, converted = write_as("yolo", write_source(tmp_path / "source", masks=False), tmp_path / "out")
    assert converted.masked == set()
    assert all(row.agrees for row in compare(plans, writers.get("yolo"), converted)["train"])


@pytest.mark.parametrize(
    ("file", "old", "new", "quantity"),
    [
        ("labels/train/a b.txt", "0.15625 0.25", "0.16 0.25", "box difference"),
        ("labels/train/a b.txt", "\n1 ", "\n0 ", "objects"),
        ("data.yaml", "cat", "dog", "class names"),
    ],
)
def test_differences_are_found(file, old, new, quantity, tmp_path):
    plans, converted = write_as("yolo", write_source(tmp_path / "source"), tmp_path / "out")
    text = (tmp_path / "out" / file).read_text()
    assert old in text
    (tmp_path / "out" / file).write_text(text.replace(old, new, 1))
    converted.data.pop("classes", None)
    rows = compare(plans, writers.get("yolo"), converted)["train"]
    assert quantity in [row.quantity for row in rows if not row.agrees]


def test_masks_that_are_not_read_back_are_found(tmp_path):
    plans, converted = write_as("coco", write_source(tmp_path / "source"), tmp_path / "out")
    converted.masked.clear()
    rows = {row.quantity: row for row in compare(plans, writers.get("coco"), converted)["train"]}
    assert rows["mask IoU"].result == "mean 0.0000, lowest 0.0000"
    assert not rows["mask IoU"].agrees


def test_a_missing_image_is_found(tmp_path):
    plans, converted = write_as("yolo", write_source(tmp_path / "source"), tmp_path / "out")
    (tmp_path / "out" / "images" / "train" / "c.png").unlink()
    assert not compare(plans, writers.get("yolo"), converted)["train"][0].agrees


def test_images_are_copied_or_linked(tmp_path):
    datasets = write_source(tmp_path / "source")
    write_as("coco", datasets, tmp_path / "copies")
    write_as("coco", datasets, tmp_path / "links", link=True)
    source = tmp_path / "source" / "train" / "day 1" / "a b.jpg"
    copied, linked = (tmp_path / name / "images" / "train" / "a b-2.jpg" for name in ("copies", "links"))
    assert copied.read_bytes() == source.read_bytes()
    assert [os.path.samefile(path, source) for path in (copied, linked)] == [False, True]


def test_images_without_files_become_png_files(tmp_path):
    datasets = {"val": Shapes(count=2, size=64)}
    write_as("coco", datasets, tmp_path / "out")
    with Image.open(tmp_path / "out" / "images" / "val" / "1.png") as image:
        assert image.size == (64, 64)


def test_nothing_is_left_when_an_image_is_missing(tmp_path, monkeypatch):
    datasets = write_source(tmp_path / "source")
    (tmp_path / "source" / "val" / "c.png").unlink()
    with pytest.raises(DataError, match=r"the image .*c.png does not exist"):
        write_as("coco", datasets, tmp_path / "out")
    assert os.listdir(tmp_path) == ["source"]


def test_a_link_that_cannot_be_made_is_an_error(tmp_path, monkeypatch):
    def refuse(source: Path, target: Path):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(convert_module.os, "link", refuse)
    with pytest.raises(WriteError, match="Invalid cross-device link\nleave out --link"):
        write_as("coco", write_source(tmp_path / "source"), tmp_path / "out", link=True)


def test_a_format_for_other_annotations_is_refused(tmp_path):
    with pytest.raises(DataError, match="train has no semantic masks, which the format masks holds"):
        plan_splits(write_source(tmp_path), writers.get("masks"))


def test_every_class_of_the_source_has_its_id(tmp_path):
    assert write_source(tmp_path)["train"].category_ids == sorted(IDS.values())
