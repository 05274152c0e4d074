import os

import pytest
from PIL import Image

from tests.helpers.real_data import real_data
from tests.helpers.voc_files import DOG, OBJECT, xml
from visionkit.data.datasets.voc import Voc
from visionkit.errors import DataError


@pytest.fixture
def small(tmp_path):
    """A function that writes a dataset of one 40 x 60 image and returns its root."""

    def write(text=None, listed="000001\n"):
        for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60, 40)).save(tmp_path / "JPEGImages" / "000001.jpg")
        (tmp_path / "Annotations" / "000001.xml").write_text(text or xml())
        (tmp_path / "ImageSets" / "Main" / "train.txt").write_text(listed)
        return tmp_path

    return write


def test_boxes_count_from_one_and_include_their_last_pixel(small):
    voc = Voc(small(), "train")
    assert voc.class_names == ["cat", "dog"]
    found = voc[0].annotation
    assert found.boxes.tolist() == [[10, 5, 20, 15], [0, 0, 60, 40]]
    assert found.area.tolist() == [100, 2400]
    assert found.difficult.tolist() == [True, False]
    assert voc[0].image_id == "000001"


def test_parts_inside_an_object_are_no_objects(small):
    part = "<part><name>head</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></part>"
    person = f"<object>{part}<name>person</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>30</xmax><ymax>30</ymax></bndbox></object>"  # noqa: E501
    voc = Voc(small(xml(person)), "train")
    assert voc.class_names == ["person"]
    assert voc[0].annotation.boxes.tolist() == [[0, 0, 30, 30]]


SIZE, FLAG = "<size><width>{}</width><height>{}</height></size>", "<difficult>{}</difficult>"
BOMB = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;">]>'
BAD = {
    "malformed": (xml()[:-5], "not well-formed"),
    "entity bomb": (xml(head=BOMB), "defines XML entities"),
    "no size": (xml(size=""), "has no <size>"),
    "no name": (xml("<object><bndbox/></object>"), "has no <name>"),
    "no box": (xml("<object><name>cat</name></object>"), "has no <bndbox>"),
    "words for numbers": (xml(OBJECT.format("left", 1, 2, 3, name="cat", more="")), "not a number"),
    "NaN": (xml(OBJECT.format("nan", 1, 20, 30, name="cat", more="")), "NaN"),
    "infinity": (xml(OBJECT.format(1, 1, "inf", 30, name="cat", more="")), r"000001\.xml: <xmax> is 'inf'"),
    "beyond float32": (xml(OBJECT.format(1, "1e300", 20, 30, name="cat", more="")), r"<ymin> is '1e300'"),
    "width infinite": (xml(size=SIZE.format("inf", 40)), r"000001\.xml: <width> is 'inf', not a positive integer"),
    "width NaN": (xml(size=SIZE.format("nan", 40)), "<width> is 'nan', not a positive integer"),
    "height fraction": (xml(size=SIZE.format(60, 48.7)), r"<height> is '48\.7', not a positive integer"),
    "height zero": (xml(size=SIZE.format(60, 0)), "<height> is '0', not a positive integer"),
    "too many pixels": (xml(size=SIZE.format(10**5, 10**5)), "100000 x 100000 pixels; at most 178956970"),
    "unknown encoding": (xml(head='<?xml version="1.0" encoding="klingon"?>'), "not well-formed"),
    "multi-byte encoding": (
        xml(head='<?xml version="1.0" encoding="shift_jis"?>'),
        "not well-formed",
    ),
    "strange flag": (xml(OBJECT.format(1, 1, 20, 30, name="cat", more=FLAG.format("maybe"))), "<difficult> is 'maybe'"),
    "unknown class": (xml(OBJECT.format(1, 1, 20, 30, name="cow", more="")), "unknown class 'cow'"),
    "no objects": (xml(""), "no image of this image set has objects"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_with_the_reason(small, case):
    text, message = BAD[case]
    with pytest.raises(DataError, match=message) as caught:
        Voc(small(text), "train", classes=["cat", "dog"])
    assert len(str(caught.value).splitlines()) <= 5


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ("000001\n000001\n", "more than once: 000001"),
        ("000002\n", r"the annotation file .*000002\.xml does not exist"),
        ("../../etc/passwd\n", r"'\.\./\.\./etc/passwd\.xml' is outside .*Annotations"),
    ],
)
def test_bad_lists_are_refused(small, listed, message):
    with pytest.raises(DataError, match=message):
        Voc(small(listed=listed), "train")


def test_a_missing_image_is_listed(small):
    root = small()
    (root / "JPEGImages" / "000001.jpg").unlink()
    with pytest.raises(DataError, match=r"1 images are missing.*000001\.jpg"):
        Voc(root, "train")


def test_degenerate_and_inverted_boxes_are_dropped_and_counted(small):
    bad = OBJECT.format(9, 9, 9, 9, name="cat", more="") + OBJECT.format(20, 9, 5, 30, name="cat", more="")
    voc = Voc(small(xml(bad + DOG)), "train")
    assert voc.report == {"boxes without area dropped": 2}
    assert len(voc[0].annotation) == 1


def test_bccd_as_its_readme_describes_it():
    root, classes = real_data("bccd"), ["RBC", "WBC", "Platelets"]
    splits = {name: Voc(root, name, classes=classes) for name in ("train", "val", "test")}
    assert [len(split) for split in splits.values()] == [205, 87, 72]
    assert [split.report.get("boxes without area dropped", 0) for split in splits.values()] == [1, 1, 0]
    assert sum(len(split.annotation(index)) for split in splits.values() for index in range(len(split))) == 4888 - 2


def test_voc2007_mini_as_its_readme_describes_it():
    root = real_data("voc2007-mini")
    expected = {"train": (210, 579, 135), "val": (105, 301, 60)}
    for name, (images, objects, difficult) in expected.items():
        voc = Voc(root, name)
        annotations = [voc.annotation(index) for index in range(len(voc))]
        assert (len(voc), len(voc.class_names)) == (images, 20)
        assert sum(map(len, annotations)) == objects
        assert sum(int(found.difficult.sum()) for found in annotations) == difficult
        assert not voc.report


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1", True), ("0", False), ("True", True), ("false", False), (" TRUE ", True), ("", False), (None, False)],
)
def test_difficult_is_read_as_a_number_or_a_word(small, text, expected):
    more = "" if text is None else FLAG.format(text)
    voc = Voc(small(xml(OBJECT.format(1, 1, 20, 30, name="cat", more=more))), "train")
    assert voc.annotation(0).difficult.tolist() == [expected]


def test_lists_and_annotations_in_other_encodings_are_named_or_read(small):
    root = small()
    (root / "ImageSets" / "Main" / "train.txt").write_bytes("café\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"train\.txt is not a UTF-8 text file"):
        Voc(root, "train")
    small()
    text = xml(OBJECT.format(1, 1, 20, 30, name="café", more=""), head='<?xml version="1.0" encoding="latin-1"?>')
    (root / "Annotations" / "000001.xml").write_bytes(text.encode("latin-1"))
    assert Voc(root, "train").class_names == ["café"]


def test_a_pipe_as_annotation_is_refused(small):
    root = small()
    (root / "Annotations" / "000001.xml").unlink()
    os.mkfifo(root / "Annotations" / "000001.xml")
    with pytest.raises(DataError, match=r"000001\.xml is not a regular file"):
        Voc(root, "train")
