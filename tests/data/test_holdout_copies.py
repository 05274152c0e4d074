"""Near-duplicates stay in one split."""

import logging

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.helpers.real_data import real_data
from visionkit.data.datamodule import VisionData
from visionkit.data.datasets.shapes import Shapes
from visionkit.data.holdout import HoldoutOptions
from visionkit.data.holdout_copies import find_copies

WORDS = ["ant", "bee", "cow", "dog", "elk", "fox", "gnu", "hen", "owl", "pig"]
CHANGES = {
    "small": lambda image: cv2.resize(image, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA),
    "mirrored": lambda image: image[:, ::-1],
    "bright": lambda image: np.clip(image * 0.7 + 60, 0, 255).astype(np.uint8),
}
NO_LABELS = np.full(100, -1)


@pytest.fixture
def folder(tmp_path):
    """Ten images whose names say nothing, and copies of the first three with other names."""
    drawn = Shapes(count=10, size=160, empty_share=0.0)
    for index, word in enumerate(WORDS):
        Image.fromarray(drawn[index].image).save(tmp_path / f"{word}.png")
    for index, (name, change) in enumerate(CHANGES.items()):
        Image.fromarray(np.ascontiguousarray(change(drawn[index].image))).save(tmp_path / f"{name}.jpg", quality=70)
    return tmp_path


def paths_of(folder):
    return [*sorted(folder.glob("*.png")), *(folder / f"{name}.jpg" for name in CHANGES)]


def test_copies_are_in_the_group_of_their_image(folder):
    found = find_copies(paths_of(folder), NO_LABELS[:13])
    assert found.indices.tolist() == [*range(10), 0, 1, 2]
    assert found.description == "groups, of which 3 are of near-duplicates"


def test_different_images_and_too_few_groups_give_none(folder):
    assert find_copies(paths_of(folder)[:10], NO_LABELS[:10]) is None
    paths = paths_of(folder)
    assert find_copies([*paths[:3], *paths[10:]], NO_LABELS[:6]) is None
    labels = np.array([0] + [1] * 9 + [0, 1, 1])
    assert find_copies(paths, labels) is None  # the class 0 would be in one part only


def test_broken_images_are_groups_of_their_own(folder):
    (folder / "cow.png").write_bytes(b"broken")
    assert find_copies(paths_of(folder), NO_LABELS[:13]).indices.tolist() == [*range(10), 0, 1, 10]


@pytest.mark.parametrize(
    ("limit", "said"), [("MAX_IMAGES", "13 images are too many"), ("MAX_BYTES", "MB of images are too many")]
)
def test_large_datasets_are_not_read_and_this_is_logged(limit, said, folder, monkeypatch, caplog):
    monkeypatch.setattr(f"visionkit.data.holdout_copies.{limit}", 12)
    with caplog.at_level(logging.INFO, "visionkit"):
        assert find_copies(paths_of(folder), NO_LABELS[:13]) is None
    assert said in caplog.text


def test_the_holdout_keeps_copies_together(folder, caplog):
    for index, word in enumerate([*WORDS, *CHANGES]):
        target = folder / ("cat" if index % 2 else "dog")
        target.mkdir(exist_ok=True)
        next(folder.glob(f"{word}.*")).rename(target / f"{word}.png")
    for seed in range(5):
        options = HoldoutOptions(fraction=0.3, seed=seed)
        data = VisionData("folder", str(folder), {"train": {"path": ""}}, holdout=options, num_workers=0)
        with caplog.at_level(logging.INFO, "visionkit"):
            held_out = {data.dataset("val").image_id(index)[4:-4] for index in range(len(data.dataset("val")))}
        for word, name in zip(WORDS, CHANGES, strict=False):
            assert (word in held_out) == (name in held_out)
    assert "by 10 groups, of which 3 are of near-duplicates (data.holdout.groups)" in caplog.text


@pytest.mark.parametrize("name", ["voc2007-mini", "coco-mini"])
def test_different_photos_are_no_copies(name):
    paths = sorted(real_data(name).rglob("*.jpg"))[:120]
    assert find_copies(paths, np.full(len(paths), -1)) is None
