"""Semantic masks as palette PNG files."""

import numpy as np
import pytest
from PIL import Image

from tests.helpers.export_source import write_as
from visionkit.data.datasets.masks import MaskDataset
from visionkit.data.export.base import writers
from visionkit.data.export.compare import compare

VALUES = {10: "road", 20: "sky", 30: "ignore"}


@pytest.fixture
def source(tmp_path):
    for name in ("images", "masks"):
        (tmp_path / "source" / name).mkdir(parents=True)
    Image.new("RGB", (4, 2)).save(tmp_path / "source" / "images" / "a.jpg")
    mask = np.array([[10, 10, 20, 30], [20, 20, 20, 10]], np.uint8)
    Image.fromarray(mask).save(tmp_path / "source" / "masks" / "a.png")
    return {"train": MaskDataset(tmp_path / "source", "images", "masks", values=VALUES)}


def test_values_are_labels_and_255_is_ignored(source, tmp_path):
    write_as("masks", source, tmp_path / "out")
    with Image.open(tmp_path / "out" / "masks" / "train" / "a.png") as image:
        assert image.mode == "P"
        assert np.array(image).tolist() == [[0, 0, 1, 255], [1, 1, 1, 0]]
        palette = np.reshape(image.getpalette(), (-1, 3))
    assert len({*map(tuple, palette[[0, 1, 255]].tolist())}) == 3


def test_what_is_read_back_agrees(source, tmp_path):
    plans, converted = write_as("masks", source, tmp_path / "out")
    rows = compare(plans, writers.get("masks"), converted)["train"]
    assert [(row.result, row.agrees) for row in rows] == [("1", True), ("2", True), ("0 in 1 masks", True)]


def test_a_changed_pixel_is_found(source, tmp_path):
    plans, converted = write_as("masks", source, tmp_path / "out")
    path = tmp_path / "out" / "masks" / "train" / "a.png"
    with Image.open(path) as image:
        image.putpixel((0, 0), 1)
        image.save(path)
    assert compare(plans, writers.get("masks"), converted)["train"][-1].result == "1 in 1 masks"
