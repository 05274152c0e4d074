import numpy as np
from PIL import Image

from tests.helpers.voc_files import CAT, xml
from visionkit.data.datasets.csv import CsvDataset
from visionkit.data.datasets.folder import FolderDataset
from visionkit.data.datasets.masks import MaskDataset
from visionkit.data.datasets.shapes import Shapes
from visionkit.data.datasets.voc import Voc
from visionkit.data.stats.check import check


def test_metrics_of_shapes():
    shapes = Shapes(count=40, size=64)
    report = check(shapes)
    assert report.images == 40
    assert sum(report.objects.values()) == sum(len(shapes.annotation(index)) for index in range(40))
    assert report.sides == sorted(report.sides)
    assert not report.problems
    labels = [shapes.label(index) for index in range(40)]
    assert report.labeled == {name: labels.count(number) for number, name in enumerate(shapes.class_names)}
    assert report.unlabeled == report.empty == labels.count(None) > 0


def test_classes_of_objects_are_not_counted_twice():
    assert check(DetectionResult(Shapes(count=5, size=64))).labeled is None


class DetectionResult:
    """Shapes without an image's label, as COCO and VOC are read."""

    def __init__(self, shapes):
        self.shapes = shapes

    def __getattr__(self, name):
        return getattr(self.shapes, name)

    def __len__(self):
        return len(self.shapes)

    def __getitem__(self, index):
        return self.shapes[index]

    def label(self, index):
        return None


def test_images_by_class_are_counted_and_the_smallest_and_largest_named(tmp_path):
    for name, count in (("cat", 3), ("dog", 1), ("cow", 0)):
        (tmp_path / name).mkdir()
        for number in range(count):
            Image.new("RGB", (6, 4)).save(tmp_path / name / f"{number}.png")
    (tmp_path / "cat" / "2.png").write_text("no image")
    lines = check(FolderDataset(tmp_path, classes=["cat", "cow", "dog"])).lines()
    assert lines[:5] == [
        "4 images",
        "images of each class: cat 3, cow 0, dog 1",
        "smallest class: cow 0, largest: cat 3",
        "classes without an image: cow",
        "classes without images: 1",
    ]
    assert lines[5].startswith("PROBLEM ")
    assert len(lines) == 6


def test_images_with_several_classes_count_for_each(tmp_path):
    for name in "abc":
        Image.new("RGB", (6, 4)).save(tmp_path / f"{name}.png")
    (tmp_path / "labels.csv").write_text("path,label\na.png,wet|red\nb.png,red\nc.png,\n")
    lines = check(CsvDataset(tmp_path, "labels.csv", separator="|")).lines()
    assert lines == [
        "3 images",
        "images of each class: red 2, wet 1",
        "smallest class: wet 1, largest: red 2",
        "images without a class: 1",
    ]


def test_broken_and_wrongly_sized_images_are_listed(tmp_path):
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("good", "cut", "turned"):
        Image.new("RGB", (60, 40)).save(tmp_path / "JPEGImages" / f"{name}.jpg")
        (tmp_path / "Annotations" / f"{name}.xml").write_text(xml(CAT))
    cut = tmp_path / "JPEGImages" / "cut.jpg"
    cut.write_bytes(cut.read_bytes()[:300])
    Image.new("RGB", (40, 60)).save(tmp_path / "JPEGImages" / "turned.jpg")
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text("good\ncut\nturned\n")
    report = check(Voc(tmp_path, "train"))
    assert len(report.problems) == 2
    assert any("cut.jpg cannot be read" in line for line in report.lines())
    assert any("60 x 40" in line for line in report.lines())


def test_shares_of_the_masks_and_what_is_wrong_with_them(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for name, mask in {"a": [0, 0, 2, 9], "b": [0, 2, 2, 2], "c": [0, 7, 0, 0], "d": [0, 0, 0]}.items():
        Image.new("RGB", (4, 1)).save(tmp_path / "images" / f"{name}.png")
        Image.fromarray(np.uint8([mask])).save(tmp_path / "masks" / f"{name}.png")
    (tmp_path / "images" / "e.png").write_text("no image")
    Image.new("L", (4, 1)).save(tmp_path / "masks" / "e.png")
    data = MaskDataset(tmp_path, "images", "masks", values={0: "road", 1: "pole", 2: "car", 9: "ignore"})
    lines = check(data).lines()
    assert lines[:3] == [
        "5 images",
        "pixels per class: road 37.50 %, pole 0.00 %, car 50.00 %; ignored 12.50 %",
        "classes without a pixel: pole",
    ]
    assert [line.split(" ")[0] for line in lines[3:]] == ["PROBLEM"] * 3
    reasons = ("has the values 0, 7; neither", "its mask has 1 x 3", "cannot be read")
    for line, reason in zip(lines[3:], reasons, strict=True):
        assert reason in line


def test_masks_are_counted_beside_objects():
    shapes = Shapes(count=10, size=64, semantic=True)
    report = check(shapes)
    assert sum(report.pixels.values()) == 10 * 64 * 64
    assert report.pixels["background"] == sum(int((shapes.semantic(index) == 0).sum()) for index in range(10))
    assert any(line.startswith("pixels per class: background ") for line in report.lines())
