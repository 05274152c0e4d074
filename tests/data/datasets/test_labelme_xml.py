"""XML files of LabelMe's web tool."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle

from tests.helpers.hostile import read_all
from tests.helpers.real_data import real_data
from visionkit.data.datasets.cvat import Cvat
from visionkit.data.datasets.labelme_xml import LabelmeXml
from visionkit.data.folder_card import card_of_folder
from visionkit.errors import DataError

SIZE = (64, 48)
CORNERS = [(24, 12), (40, 12), (40, 36), (24, 36)]


def pts(points):
    return "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in points)


def polygon(name="cat", points=CORNERS[:3], more=""):
    return f"<object><name>{name}</name><deleted>0</deleted>{more}<polygon>{pts(points)}</polygon></object>"


def box(more="<attributes>rotation=0.0</attributes>"):
    return polygon("dog", CORNERS, f"<type>bounding_box</type>{more}")


def painted(mask="a_mask_0.png"):
    inner = f"<box><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></box><mask>{mask}</mask>"
    return f"<object><name> car\n</name><deleted>0</deleted><segm>{inner}</segm></object>"


def write(folder, *objects, name="a", size="<imagesize><nrows>48</nrows><ncols>64</ncols></imagesize>", inner=""):
    """Write an XML file and its image."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE).save(folder / f"{name}.png")
    head = f"<filename>\n{name}.png</filename><folder>{inner}</folder>{size}"
    (folder / f"{name}.xml").write_text(f"<annotation>{head}{''.join(objects)}</annotation>")


def write_mask(path, area=(slice(4, 9), slice(10, 30))):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((*SIZE[::-1], 4), np.uint8)
    pixels[area] = (0, 90, 7, 255)
    Image.fromarray(pixels).save(path)


def test_polygons_boxes_and_masks(tmp_path):
    write(tmp_path, polygon(), box(), painted())
    write_mask(tmp_path / "Masks" / "a_mask_0.png")
    dataset = LabelmeXml(tmp_path, masks=True)
    annotation = dataset[0].annotation
    assert dataset.class_names == ["car", "cat", "dog"]
    assert annotation.labels.tolist() == [1, 2, 0]
    assert annotation.boxes.tolist() == [[24, 12, 40, 36], [24, 12, 40, 36], [10, 4, 30, 9]]
    assert annotation.area.tolist() == [16 * 24 / 2, 16 * 24, 100]
    decoded = rle.decode(annotation.masks[2])
    assert decoded[4:9, 10:30].all()
    assert decoded.sum() == 100
    assert LabelmeXml(tmp_path)[0].annotation.boxes.tolist() == annotation.boxes.tolist()


def test_deleted_objects_are_left_out_and_images_without_objects_kept(tmp_path):
    write(tmp_path, polygon(), polygon("old", more="").replace("<deleted>0", "<deleted>1"))
    write(tmp_path, name="b")
    dataset = LabelmeXml(tmp_path)
    assert ([len(dataset.annotation(index)) for index in (0, 1)], dataset.class_names) == ([1, 0], ["cat"])
    assert dataset.report == {"deleted objects left out": 1}


def test_a_collection_of_the_web_tool(tmp_path):
    """Images, annotations and masks are in folders of the same names."""
    for inner in ("day1", "day2"):
        write(tmp_path / "Images" / inner, polygon(), painted(), inner=inner)
        (tmp_path / "Annotations" / inner).mkdir(parents=True)
        (tmp_path / "Images" / inner / "a.xml").rename(tmp_path / "Annotations" / inner / "a.xml")
        write_mask(tmp_path / "Masks" / inner / "a_mask_0.png")
    card = card_of_folder(tmp_path).values["data"]
    assert (card["format"], card["splits"]) == ("labelme_xml", {"train": {"annotations": "Annotations"}})
    dataset = LabelmeXml(tmp_path, "Annotations")
    assert [*dataset.file_names] == ["Images/day1/a.png", "Images/day2/a.png"]
    read_all(dataset)


def test_an_empty_mask_is_a_box_without_area(tmp_path):
    write(tmp_path, polygon(), painted())
    write_mask(tmp_path / "Masks" / "a_mask_0.png", area=(slice(0, 0), slice(0, 0)))
    assert LabelmeXml(tmp_path).report == {"boxes without area dropped": 1}


@pytest.mark.parametrize(
    ("objects", "said"),
    [
        (polygon(points=CORNERS[:2]), "object 0 is a polygon of 2 points"),
        (polygon(points=[(1, "nan"), (1, 2), (3, 4)]), "object 0 has the coordinates"),
        (polygon(points=[(1, "x"), (1, 2), (3, 4)]), "they must be numbers"),
        (polygon(" "), "object 0 has no name"),
        ("<object><name>a</name></object>", "neither a polygon nor a mask"),
        (box("<attributes>wet, rotation=-30.5</attributes>"), "box with rotation=-30.5"),
        (painted("gone.png"), "its mask 'gone.png' does not exist"),
        (painted("../../outside.png"), "does not exist"),
        (painted(""), "does not exist"),
        (painted("small.png"), r"has \(2, 2\) pixels"),
    ],
)
def test_what_is_malformed_is_refused_with_its_place(objects, said, tmp_path):
    write(tmp_path / "set", objects)
    write_mask(tmp_path / "outside.png")
    (tmp_path / "set" / "Masks").mkdir()
    Image.new("L", (2, 2), 1).save(tmp_path / "set" / "Masks" / "small.png")
    with pytest.raises(DataError, match=rf"a\.xml.*{said}"):
        LabelmeXml(tmp_path / "set")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("<nrows>48", "<nrows>50", "50 x 64 pixels"),
        ("<nrows>48", "<nrows>4e1", "must be of integers"),
        ("<filename>\na.png", "<filename>", "no XML file of LabelMe"),
        ("<filename>\na.png", "<filename>b.png", "1 of 1 images are missing: Images/b.png"),
    ],
)
def test_wrong_files_are_refused(old, new, said, tmp_path):
    write(tmp_path, polygon())
    path = tmp_path / "a.xml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError, match=said):
        LabelmeXml(tmp_path)


def test_the_export_of_cvat_equals_its_own_file(tmp_path):
    folder = real_data("annotation-formats") / "iteam1_2label_many"
    cvat = Cvat(folder, "cvat1.1/annotations.xml", masks=True, other_shapes="skip")
    for name in ("labelme3.0", "images"):
        shutil.copytree(folder / name, tmp_path / name)
    card = card_of_folder(tmp_path).values["data"]
    assert card["splits"] == {"train": {"annotations": "labelme3.0", "images": "images"}}
    found = LabelmeXml(tmp_path, **card["splits"]["train"], masks=True)
    assert len(found.objects) == len(cvat.objects) == 23
    index = {Path(name).name: position for position, name in enumerate(cvat.file_names)}
    for position, name in enumerate(found.file_names):
        annotation, expected = found.annotation(position), cvat.annotation(index[Path(name).name])
        if not len(annotation):
            continue
        best = rle.iou(annotation.masks, expected.masks, [False] * len(expected)).argmax(axis=1)
        assert [found.class_names[label] for label in annotation.labels] == [
            cvat.class_names[expected.labels[index]] for index in best
        ]
        # the ellipses are masks of whole pixels
        np.testing.assert_allclose(annotation.boxes, expected.boxes[best], atol=1.5)


def test_files_of_the_web_tool(tmp_path):
    shutil.copytree(real_data("annotation-formats") / "datumaro_tiny" / "labelme_dataset", tmp_path / "set")
    card = card_of_folder(tmp_path / "set").values["data"]
    assert card["splits"] == {"train": {"annotations": ""}}
    dataset = LabelmeXml(tmp_path / "set", masks=True)
    assert dataset.class_names == ["b1", "hg", "license plate", "m1", "o1", "q1", "window"]
    assert dataset[0].annotation.boxes[1].tolist() == [58, 67, 63, 69]
