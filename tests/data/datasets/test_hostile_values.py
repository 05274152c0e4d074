"""Small valid files in which random values are replaced: a dataset returns samples, or raises VisionkitError soon."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.helpers.hostile import BYTES, TEXTS, damaged, mutations, read_all, survives
from tests.helpers.voc_files import xml
from visionkit.data.datasets.arrays import ArrayDataset
from visionkit.data.datasets.coco import Coco
from visionkit.data.datasets.coco_panoptic import CocoPanoptic
from visionkit.data.datasets.coco_semantic import CocoSemantic
from visionkit.data.datasets.csv import CsvDataset
from visionkit.data.datasets.masks import MaskDataset
from visionkit.data.datasets.mnist import Mnist
from visionkit.data.datasets.voc import Voc
from visionkit.data.proposals.proposal_file import ProposalFile

IMAGE = (6, 8)

OBJECT = {"image_id": 1, "category_id": 7, "bbox": [1, 1, 3, 2], "area": 6, "iscrowd": 0}
INSTANCES = {
    "images": [{"id": 1, "file_name": "a.png", "height": 6, "width": 8}],
    "categories": [{"id": 7, "name": "cat"}, {"id": 9, "name": "dog"}],
    "annotations": [
        {"id": 1, **OBJECT, "segmentation": [[1, 1, 4, 1, 4, 3, 1, 3], [5, 5, 6, 5, 6, 6]]},
        {"id": 2, **OBJECT, "segmentation": {"size": [6, 8], "counts": [10, 5, 33]}},
        {"id": 3, **OBJECT, "segmentation": {"size": [6, 8], "counts": ":5Q1"}, "iscrowd": 1},
    ],
}
PANOPTIC = {
    **INSTANCES,
    "annotations": [{"image_id": 1, "file_name": "m.png", "segments_info": [{"id": 261, "category_id": 9}]}],
}


@pytest.fixture
def folder(tmp_path):
    Image.new("RGB", IMAGE[::-1]).save(tmp_path / "a.png")
    Image.new("RGB", IMAGE[::-1], (5, 1, 0)).save(tmp_path / "m.png")
    return tmp_path


def dumped(folder, content):
    (folder / "i.json").write_text(json.dumps(content))


def test_the_valid_files_are_read(folder):
    """Otherwise the tests below would change nothing that is read."""
    dumped(folder, INSTANCES)
    assert len(Coco(folder, "i.json", masks=True)[0].annotation) == 3
    assert CocoSemantic(folder, "i.json")[0].semantic.max() == 1
    dumped(folder, PANOPTIC)
    assert CocoPanoptic(folder, "i.json", "")[0].semantic.max() == 1
    assert len(Voc(voc_folder(folder), "train")[0].annotation) == 2


@settings(settings.get_profile("hostile"), max_examples=300)
@given(content=mutations(INSTANCES))
def test_coco(folder, content):
    dumped(folder, content)
    survives(lambda: read_all(Coco(folder, "i.json", masks=True)))
    survives(lambda: read_all(CocoSemantic(folder, "i.json")))


@settings(settings.get_profile("hostile"), max_examples=150)
@given(content=mutations(PANOPTIC))
def test_coco_panoptic(folder, content):
    dumped(folder, content)
    survives(lambda: read_all(CocoPanoptic(folder, "i.json", "")))


@settings(settings.get_profile("hostile"), max_examples=100)
@given(content=mutations({"1": [[0, 0, 4, 4], [1, 1, 3, 3]], "2": []}))
def test_proposals(folder, content):
    dumped(folder, content)
    survives(lambda: [ProposalFile(folder / "i.json").boxes(image_id, *IMAGE) for image_id in (1, 2)])


def voc_folder(folder, text=None):
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (60, 40)).save(folder / "JPEGImages" / "000001.jpg")
    (folder / "Annotations" / "000001.xml").write_text(text or xml(), encoding="utf-8")
    (folder / "ImageSets" / "Main" / "train.txt").write_text("000001\n")
    return folder


VOC_VALUES = [match.span() for match in re.finditer(r"(?<=>)[^<>]+(?=<)", xml())]


@settings(settings.get_profile("hostile"), max_examples=200)
@given(place=st.sampled_from(VOC_VALUES), value=st.sampled_from(TEXTS) | st.text(max_size=5), head=st.booleans())
def test_voc(folder, place, value, head):
    start, end = place
    declared = '<?xml version="1.0" encoding="utf-8"?>' if head else ""
    text = declared + xml()[:start] + value.encode(errors="ignore").decode() + xml()[end:]
    survives(lambda: read_all(Voc(voc_folder(folder, text), "train")))


@settings(settings.get_profile("hostile"), max_examples=100)
@given(changes=BYTES, cut=st.just(0) | st.integers(0, 50))
def test_csv(folder, changes, cut):
    (folder / "t.csv").write_bytes(damaged(b'id,path,label\n1,"a.png",cat\n2,m.png,dog\n', changes, cut))
    survives(lambda: read_all(CsvDataset(folder, "t.csv")))


def encoded(suffix, mode):
    buffer = io.BytesIO()
    Image.new(mode, IMAGE[::-1]).save(buffer, suffix)
    return buffer.getvalue()


FILES = {
    f"{suffix} {mode}": encoded(suffix, mode)
    for suffix, mode in (("PNG", "L"), ("PNG", "P"), ("PNG", "I;16"), ("BMP", "RGB"), ("TIFF", "L"), ("TIFF", "I;16"),
                         ("GIF", "P"), ("WEBP", "RGB"), ("JPEG", "RGB"), ("JPEG", "CMYK"), ("PPM", "L"))
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")  # Pillow warns about some faults before it raises
@pytest.mark.parametrize("kind", FILES)
@settings(settings.get_profile("hostile"), max_examples=30)
@given(changes=BYTES, cut=st.just(0) | st.integers(0, 10**6))
def test_images_and_masks(folder, kind, changes, cut):
    for name in ("images", "masks"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "images" / "a.png").write_bytes(damaged(FILES[kind], changes, cut))
    (folder / "masks" / "a.png").write_bytes(damaged(FILES[kind], changes, cut))
    survives(lambda: read_all(MaskDataset(folder, "images", "masks", classes=["a", "b"])))


def archive():
    buffer = io.BytesIO()
    jpeg = np.frombuffer(FILES["PNG L"], np.uint8)
    arrays = {"offsets": np.array([0, len(jpeg)]), "labels": np.array([1]), "class_names": np.array(["cat", "dog"])}
    np.savez_compressed(buffer, jpeg=jpeg, **arrays)
    return buffer.getvalue()


@settings(settings.get_profile("hostile"), max_examples=100)
@given(changes=BYTES, cut=st.just(0) | st.integers(0, 10**6))
def test_arrays(folder, changes, cut):
    (folder / "a.npz").write_bytes(damaged(archive(), changes, cut))
    survives(lambda: read_all(ArrayDataset(folder, "a.npz")))


@settings(settings.get_profile("hostile"), max_examples=50)
@given(changes=BYTES, cut=st.just(0) | st.integers(0, 10**6))
def test_mnist(folder, changes, cut):
    images = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 4]) + bytes(32)
    (folder / "images").write_bytes(damaged(images, changes, cut))
    (folder / "labels").write_bytes(damaged(bytes([0, 0, 8, 1, 0, 0, 0, 2, 5, 0]), changes, 0))
    survives(lambda: read_all(Mnist(Path(folder), "images", "labels")))
