"""The HTML page of a dataset: well-formed, without addresses, with the counts of the data, and every text escaped."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

import visionkit as vk
from tests.helpers.html_page import parse
from tests.helpers.photo_folder import write_photos
from tests.helpers.real_data import REPOSITORY, real_data
from visionkit.cli.config.build import build_data
from visionkit.cli.config.compose import compose
from visionkit.data.datasets.shapes import Shapes
from visionkit.errors import ConfigError
from visionkit.report.data_page import AUGMENTED_IMAGES, DRAWS, write_data_page
from visionkit.structures import Annotation

SPLITS = {
    "train": {"split": "train", "count": 9, "size": [48, 64], "empty_share": 0.3},
    "val": {"split": "val", "count": 3, "size": 80},
}


@pytest.fixture
def show(tmp_path):
    """Write the page of some data, and return its elements and its text."""

    def write(data, **options):
        path = tmp_path / "data.html"
        write_data_page(data, path, "a <b> title", **options)
        text = path.read_text()
        return parse(text), text

    return write


def cards(page, split=None):
    chosen = {} if split is None else {"data_split": split}
    return [figure for figure in page.find("figure", **chosen) if "card" in figure.classes]


def summary(page):
    """The cells of the summary by split."""
    table = next(table for table in page.find("table") if "summary" in table.classes)
    head, *rows = table.find("tr")
    names = [cell.texts() for cell in head.find("th")]
    cells = [[cell.texts().strip() for cell in row.find("th") + row.find("td")] for row in rows]
    return {row[0]: dict(zip(names, row, strict=True)) for row in cells}


def counts(page, title):
    """The numbers of a table by class."""
    section = next(
        part
        for part in page.find("section")
        if any(h.texts() == title for h in part.find("h3")) and "chart" in part.classes
    )
    rows = section.find("tbody")[0].find("tr")
    return {row.find("th")[0].texts(): [cell.texts().strip() for cell in row.find("td")] for row in rows}


def test_counts_are_those_of_the_data(show):
    data = vk.VisionData("shapes", splits=SPLITS, num_workers=0)
    page, _ = show(data, count=5)
    assert page.find("h1")[0].texts() == "a <b> title"
    assert (len(cards(page, "train")), len(cards(page, "val"))) == (5, 3)
    for split in ("train", "val"):
        dataset = data.dataset(split)
        found = [dataset.annotation(index) for index in range(len(dataset))]
        said = summary(page)[split]
        assert said["images"] == str(len(dataset))
        assert said["objects"] == str(sum(map(len, found)))
        assert said["without objects"] == str(sum(not len(annotation) for annotation in found))
        assert said["small"] == str(sum(int((annotation.area < 32**2).sum()) for annotation in found))
        column = ("train", "val").index(split)
        labels = np.concatenate([annotation.labels for annotation in found])
        table = counts(page, "Objects of each class")
        assert [table[name][column] for name in dataset.class_names] == [
            str((labels == label).sum()) for label in range(len(dataset.class_names))
        ]
    shown = [data.dataset("train")[index] for index in (0, 2, 4, 6, 8)]
    for card, sample in zip(cards(page, "train"), shown, strict=True):
        assert card.attributes["data-name"] == sample.file_name
        drawn = sorted(int(group.attributes["data-class"]) for group in card.find("g"))
        assert drawn == sorted(sample.annotation.labels.tolist())
        assert len(card.find("rect")) == len(card.find("path")) == len(drawn)
    assert {element.texts() for element in page.find("h3")} >= {
        "Image width in pixels",
        "Aspect ratio of the images (width / height)",
        "Objects per image",
        "Object size (square root of the area in pixels)",
        "Position of the box centers in the images",
    }


def test_only_some_splits_and_less_images_than_asked_for(show):
    data = vk.VisionData("shapes", splits=SPLITS, num_workers=0)
    page, _ = show(data, splits=["val"])
    assert [*summary(page)] == ["val"]
    assert len(cards(page)) == 3
    with pytest.raises(ConfigError, match="no split 'tset'"):
        show(data, splits=["tset"])
    with pytest.raises(ConfigError, match="count"):
        show(data, count=0)


def test_text_of_the_data_is_escaped(show, tmp_path):
    classes = ["<script>alert(1)<", "\"'><img src=x onerror=alert(2)>"]
    file = "\"><b onclick='x'>&amp;{{ 7*7 }}.png"
    for name in classes:
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "data" / name / file)
        (tmp_path / "data" / name / "\udcff<i>.png").write_bytes(b"broken")
    page, text = show(vk.VisionData("folder", str(tmp_path / "data"), {"train": {"path": ""}}, num_workers=0))
    assert len(page.find("script")) == 1
    assert not page.find("b", onclick="x")
    assert not page.find("img", src="x")
    assert {name.texts() for name in page.find("span", class_="name")} == {f"{name}/{file}" for name in classes}
    assert {*counts(page, "Images with each class")} == {*classes}
    assert summary(page)["train"]["repaired or skipped"].count("PROBLEM") == 2
    assert r"\udcff&lt;i&gt;.png cannot be read" in text


def test_detections_of_dangerous_classes(show):
    box = {"boxes": torch.tensor([[1.0, 2, 30, 20]]), "labels": torch.tensor([0])}
    pairs = [(torch.zeros(3, 32, 32, dtype=torch.uint8), box)]
    page, _ = show(vk.VisionData.from_datasets(train=pairs, class_names=["</title></svg><script>", "b"]))
    assert page.find("svg")[0].find("text")[0].texts() == "</title></svg><script>"
    assert page.find("title")[1].texts().startswith("</title></svg><script>, 29 x 18 px")


def test_classes_of_images_and_what_is_repaired(show, tmp_path):
    write_photos(tmp_path)
    (tmp_path / "photos" / "cat" / "notes.txt").write_text("x")
    data = vk.VisionData("folder", str(tmp_path), {"train": {"path": "photos"}}, num_workers=0)
    page, _ = show(data)
    assert counts(page, "Images with each class") == {"cat": ["6"], "dog": ["6"]}
    assert [card.attributes["data-keys"] for card in cards(page)] == ["0"] * 6 + ["1"] * 6
    assert not page.find("input", id="boxes")
    (reason, number), *_ = data.dataset("train").report.items()
    assert f"{reason}: {number}" in summary(page)["train"]["repaired or skipped"]


def test_semantic_masks_are_layers(show):
    splits = {"train": {"count": 4, "size": 64, "semantic": True}}
    data = vk.VisionData("shapes", splits=splits, num_workers=0)
    page, _ = show(data)
    for index, card in enumerate(cards(page)):
        layers = [int(image.attributes["data-class"]) for image in card.find("img") if "data-class" in image.attributes]
        assert layers == np.unique(data.dataset("train").semantic(index)).tolist()
    assert page.find("input", id="opacity")
    shares = counts(page, "Pixels of each class")
    assert sum(float(cells[0].rstrip(" %")) for cells in shares.values()) == pytest.approx(100, abs=0.05)
    assert float(shares["background"][0].rstrip(" %")) > 50


def test_images_after_augmentation(show):
    flip = [{"name": "HorizontalFlip", "p": 0.5}]
    data = vk.VisionData("shapes", splits={"train": {"count": 20, "size": 48}}, augment=flip, num_workers=0)
    page, _ = show(data, augment=True)
    augmented = cards(page, "augmented")
    assert len(augmented) == AUGMENTED_IMAGES * (1 + DRAWS)
    rows = [augmented[start : start + 1 + DRAWS] for start in range(0, len(augmented), 1 + DRAWS)]
    images = [{card.find("img")[0].attributes["src"] for card in row} for row in rows]
    assert {len(different) for different in images} <= {1, 2}  # as it is, and mirrored
    assert sum(len(different) == 2 for different in images) > len(images) / 2
    assert len(cards(page, "train")) == 20
    assert len(cards(show(data, augment=True, count=2)[0], "augmented")) == 2 * (1 + DRAWS)


def test_without_augmentation_there_is_nothing_to_draw(show):
    data = vk.VisionData("shapes", splits=SPLITS, num_workers=0)
    with pytest.raises(ConfigError, match=r"no data\.augment"):
        show(data, augment=True)


def test_the_page_is_the_same_every_time_and_replaces_no_other_file(show, tmp_path):
    data = vk.VisionData("shapes", splits=SPLITS, augment=[{"name": "HorizontalFlip", "p": 0.5}], num_workers=0)
    assert show(data, augment=True)[1] == show(data, augment=True)[1]
    (tmp_path / "data.html").write_text("mine")
    with pytest.raises(ConfigError, match="is not overwritten"):
        show(data)
    assert (tmp_path / "data.html").read_text() == "mine"
    with pytest.raises(ConfigError, match="is not overwritten"):
        write_data_page(data, tmp_path, "folder")


def test_the_template_is_part_of_the_package():
    """The wheel holds all files in the folder, and the template includes the style and the script."""
    folder = REPOSITORY / "visionkit" / "report" / "templates"
    assert {path.name for path in folder.iterdir()} == {
        "head.html",
        "scatter_plots.svg",
        *(f"{page}.{suffix}" for page in ("data", "audit", "report") for suffix in ("html", "css", "js")),
    }
    assert re.findall(r'include "(.+?)"', (folder / "data.html").read_text()) == ["head.html", "data.css", "data.js"]


REAL = {
    "bccd": ["data/bccd.yaml"],
    "camvid": ["data/camvid.yaml"],
    "coco-mini": [
        "data.format=coco",
        *(f"data.splits.{split}.annotations=annotations/instances_{split}2017.json" for split in ("train", "val")),
        *(f"data.splits.{split}.images={split}2017" for split in ("train", "val")),
        *(f"data.splits.{split}.masks=true" for split in ("train", "val")),
    ],
}


@pytest.mark.parametrize("name", REAL)
def test_pages_of_real_data_are_complete_and_small(name, show, monkeypatch):
    root = real_data(name)
    monkeypatch.chdir(REPOSITORY)
    data = build_data(compose([*REAL[name], f"data.root={root}"]).values)
    page, text = show(data)
    assert len(text) < 15e6
    for split in data.splits:
        assert len(cards(page, split)) == min(60, len(data.dataset(split)))
    if name == "bccd":
        assert sum(int(row["objects"]) for row in summary(page).values()) == 4886
        assert "boxes without area dropped: 1" in summary(page)["train"]["repaired or skipped"]


class Crowded(Shapes):
    """Images of noise with many objects."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        sample.image[:] = np.random.default_rng(index).integers(0, 256, sample.image.shape)
        sample.annotation = self.annotation(index)
        return sample

    def annotation(self, index):
        corners = np.random.default_rng(index).uniform(0, 200, (1000, 2)).astype(np.float32)
        no = np.zeros(1000, bool)
        return Annotation(np.concatenate([corners, corners + 150], axis=1), np.arange(1000) % 6, no, no, no + 22500)


def test_the_size_of_the_page_is_bounded_and_said(show, monkeypatch):
    limit = 1_500_000
    monkeypatch.setattr("visionkit.report.data_page.PAGE_BYTES", limit)
    splits = {name: Crowded(split=name, count=9, size=400, empty_share=0.0) for name in ("train", "val")}
    page, text = show(vk.VisionData.from_datasets(**splits, num_workers=0))
    assert 0.7 * limit < len(text.encode()) < limit
    shown = [len(cards(page, name)) for name in splits]
    assert all(1 < number < 9 for number in shown)
    said = [heading.texts() for heading in page.find("h3")][:2]
    assert said == [
        f"{name} {number} of 9 images, evenly spaced; 9 would make this page too large"
        for name, number in zip(splits, shown, strict=True)
    ]
    assert text.count("500 of 1000 objects drawn") == sum(shown)
