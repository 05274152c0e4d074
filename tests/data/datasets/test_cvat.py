"""Datasets of "CVAT for images" files."""

import pytest
from PIL import Image
from pycocotools import mask as rle

from tests.helpers.real_data import real_data
from visionkit.data.datasets.cvat import Cvat
from visionkit.errors import DataError

BOX = '<box label="cat" occluded="1" z_order="3" xtl="24" ytl="12" xbr="40" ybr="36"><attribute name="a">1</attribute></box>'  # noqa: E501
TRIANGLE = '<polygon label="dog" points="16,12;48,12;48,36"/>'
MASK = '<mask label="dog" rle="1, 2, 3" left="10" top="20" width="3" height="2"/>'
LABEL = "<label><name>{}</name><type>{}</type></label>"
LABELS = LABEL.format("dog", "any") + LABEL.format("cat", "rectangle") + LABEL.format("eye", "points")


def image(shapes="", name="a.png", more='width="64" height="48"'):
    return f'<image id="0" name="{name}" {more}>{shapes}</image>'


def write(folder, *images, labels="", subset=""):
    (folder / "images").mkdir(exist_ok=True)
    for name in ("a", "b"):
        Image.new("RGB", (64, 48)).save(folder / "images" / f"{name}.png")
    meta = f"<meta><task><subset>{subset}</subset><labels>{labels}</labels></task></meta>"
    (folder / "annotations.xml").write_text(f"<annotations>{meta}{''.join(images)}</annotations>")
    return folder


def test_boxes_polygons_and_masks(tmp_path):
    dataset = Cvat(write(tmp_path, image(BOX + TRIANGLE + MASK), labels=LABELS), masks=True)
    annotation = dataset[0].annotation
    assert annotation.boxes.tolist() == [[24, 12, 40, 36], [16, 12, 48, 36], [10, 20, 13, 22]]
    assert annotation.area.tolist() == [16 * 24, 32 * 24 / 2, 2]
    assert (dataset.class_names, annotation.labels.tolist()) == (["dog", "cat"], [1, 0, 0])
    assert int(rle.area(annotation.masks[2])) == 2
    assert dataset.report == {"objects without polygon, whose box is their mask": 1}


def test_without_a_list_of_labels_those_of_the_shapes_are_taken(tmp_path):
    write(tmp_path, image(TRIANGLE + BOX))
    assert Cvat(tmp_path).class_names == ["cat", "dog"]
    assert Cvat(tmp_path, classes=["cow", "dog"]).class_names == ["cow", "dog"]


def test_subsets_select_images(tmp_path):
    more = 'subset="{}"'
    write(tmp_path, image(BOX, more=more.format("Train")), image(TRIANGLE, "b.png", more.format("Val")))
    (tmp_path / "images" / "Val").mkdir()
    (tmp_path / "images" / "b.png").rename(tmp_path / "images" / "Val" / "b.png")
    splits = [Cvat(tmp_path, subset=subset) for subset in ("Train", "Val")]
    assert [list(split.image_ids) for split in splits] == [["images/a.png"], ["images/Val/b.png"]]
    assert [split.class_names for split in splits] == [["cat", "dog"]] * 2
    with pytest.raises(DataError, match=r"annotations\.xml has no images of the subset 'val'; it has Train, Val"):
        Cvat(tmp_path, subset="val")


def test_the_subset_of_the_whole_file(tmp_path):
    write(tmp_path, image(BOX), subset="Test")
    assert len(Cvat(tmp_path, subset="Test")) == 1
    with pytest.raises(DataError, match="it has Test"):
        Cvat(tmp_path, subset="Train")


def test_other_shapes_are_refused_or_counted(tmp_path):
    write(tmp_path, image(f'{BOX}<tag label="x"/><polyline label="cat" points="1,2;3,4"/><skeleton label="s"/>'))
    said = r"(?s)annotations\.xml image 'a\.png' polyline \(element 2\) is not read; .*set other_shapes: skip"
    with pytest.raises(DataError, match=said):
        Cvat(tmp_path)
    assert Cvat(tmp_path, other_shapes="skip").report == {
        "tags of images skipped": 1,
        "shapes of other kinds skipped (polyline)": 1,
        "shapes of other kinds skipped (skeleton)": 1,
    }


def test_rotated_boxes_are_refused_or_become_their_hull(tmp_path):
    write(tmp_path, image(BOX.replace("<box", '<box rotation="90"')))
    with pytest.raises(DataError, match="rotated_boxes: hull"):
        Cvat(tmp_path)
    assert Cvat(tmp_path, rotated_boxes="hull", masks=True)[0].annotation.boxes.tolist() == [[20, 16, 44, 32]]


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (image(BOX, more='width="48" height="64"'), "image 'a.png' says that the image has 64 x 48 pixels"),
        (image(BOX, more='width="1e1" height="48"'), "has the height '48' and width '1e1'"),
        (image('<box label=" " xtl="1" ytl="1" xbr="4" ybr="4"/>'), r"box \(element 0\) has no label"),
        (image(BOX, name=" "), "image 0 has no name"),
        (image(BOX, name="../a.png") + image(BOX), "1 images occur more than once"),
        (image(BOX, name="/etc/passwd.png"), "is outside"),
        (image(BOX, name="c.png"), "(?s)1 of 1 images are missing: c.png.*on_bad_file: skip"),
        ('<track id="0" label="cat"/>', r'is a "CVAT for video" file; export the task as "CVAT for images 1\.1"'),
        ("", "has no images"),
        (image(), "has no objects"),
    ],
)
def test_unusable_files_are_refused(images, said, tmp_path):
    with pytest.raises(DataError, match=said):
        Cvat(write(tmp_path, images))


def test_other_files_are_refused(tmp_path):
    write(tmp_path)
    (tmp_path / "annotations.xml").write_text("<annotation/>")
    with pytest.raises(DataError, match="has the root element <annotation>"):
        Cvat(tmp_path)


def test_labels_of_objects_must_be_listed(tmp_path):
    with pytest.raises(DataError, match=r"box \(element 0\): unknown class 'cat'; known: dog"):
        Cvat(write(tmp_path, image(BOX), labels=LABEL.format("dog", "any")))


def test_coins():
    folder = real_data("annotation-formats") / "cvat_coins"
    with pytest.raises(DataError, match=r"13 of 29 images are missing: 034-903_k650\.jpg, "):
        Cvat(folder)
    coins = Cvat(folder, masks=True, on_bad_file="skip")
    assert (len(coins), len(coins.class_names), coins.report["missing images skipped"]) == (16, 11, 13)
    assert len(coins[3].annotation.masks) == len(coins[3].annotation.boxes) > 0


def test_exports_of_datumaro():
    folder = real_data("annotation-formats") / "datumaro_tiny" / "cvat_dataset"
    with pytest.raises(DataError, match=r"image 'img0\.jpg' polyline \(element 1\) is not read"):
        Cvat(folder / "for_images", "train.xml")
    with pytest.raises(DataError, match=r"image 'img1\.jpg' polygon \(element 0\) has no label"):
        Cvat(folder / "for_images", "train.xml", other_shapes="skip")
    with pytest.raises(DataError, match="CVAT for video"):
        Cvat(folder / "for_video")
