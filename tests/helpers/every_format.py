"""A dataset of 16-bit images in every format that has image files: functions that write it into a folder.

Each returns the options of the split.
"""

import io
import json

import numpy as np
import pytest
from PIL import Image

from tests.helpers.arrow_files import write_parquet
from tests.helpers.voc_files import xml
from visionkit.data.datasets.folder import FolderDataset
from visionkit.data.packed.writer import PackOptions, pack

LARGEST = 4095
VALUES = np.linspace(0, LARGEST, 40 * 60).astype(np.uint16).reshape(40, 60)
SCALED = np.repeat((VALUES.astype(int) * 255 // LARGEST).astype(np.uint8)[..., None], 3, axis=2)


def save(path, values=VALUES):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def folder(root):
    for name in ("cat", "dog"):
        save(root / name / "a.png")
    return {"path": ""}


def table(root):
    folder(root)
    (root / "train.csv").write_text("path,label\ncat/a.png,cat\ndog/a.png,dog\n")
    return {"annotations": "train.csv"}


def coco(root):
    save(root / "a.png")
    corners = [[1, 2, 11, 2, 11, 22, 1, 22]]
    content = {
        "images": [{"id": 7, "file_name": "a.png", "height": 40, "width": 60}],
        "categories": [{"id": 90, "name": "brush"}, {"id": 5, "name": "plane"}],
        "annotations": [{"image_id": 7, "category_id": 90, "bbox": [1, 2, 10, 20], "segmentation": corners}],
    }
    (root / "train.json").write_text(json.dumps(content))
    return {"annotations": "train.json"}


def panoptic(root):
    save(root / "a.png")
    save(root / "masks" / "a.png", np.zeros((40, 60, 3), np.uint8))
    content = {
        "images": [{"id": 7, "file_name": "a.png", "height": 40, "width": 60}],
        "categories": [{"id": 90, "name": "brush"}, {"id": 5, "name": "plane"}],
        "annotations": [{"image_id": 7, "file_name": "a.png", "segments_info": []}],
    }
    (root / "train.json").write_text(json.dumps(content))
    return {"annotations": "train.json", "masks": "masks"}


def voc(root):
    save(root / "JPEGImages" / "a.png")
    (root / "JPEGImages" / "a.png").rename(root / "JPEGImages" / "a.jpg")
    for name, text in (("Annotations/a.xml", xml()), ("ImageSets/Main/train.txt", "a")):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_text(text)
    return {"image_set": "train"}


def voc_segmentation(root):
    save(root / "JPEGImages" / "a.png")
    (root / "JPEGImages" / "a.png").rename(root / "JPEGImages" / "a.jpg")
    save(root / "SegmentationClass" / "a.png", np.zeros((40, 60), np.uint8))
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    (root / "ImageSets" / "Segmentation" / "train.txt").write_text("a")
    return {"image_set": "train"}


def masks(root):
    save(root / "images" / "a.png")
    save(root / "masks" / "a.png", np.zeros((40, 60), np.uint8))
    return {"images": "images", "masks": "masks", "values": {0: "road", 1: "sky"}}


def cityscapes(root):
    save(root / "leftImg8bit" / "train" / "aachen" / "a_leftImg8bit.png")
    save(root / "gtFine" / "train" / "aachen" / "a_gtFine_labelIds.png", np.zeros((40, 60), np.uint8))
    return {"split": "train"}


def arrays(root):
    encoded = io.BytesIO()
    Image.fromarray(VALUES).save(encoded, "PNG")
    jpeg = np.frombuffer(encoded.getvalue(), np.uint8)
    names = np.array(["cat", "dog"])
    np.savez(root / "a.npz", jpeg=jpeg, offsets=np.array([0, len(jpeg)]), labels=np.array([1]), class_names=names)
    return {"file": "a.npz"}


def yolo(root):
    save(root / "images" / "train" / "a.png")
    (root / "labels" / "train").mkdir(parents=True)
    (root / "labels" / "train" / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (root / "data.yaml").write_text("train: images/train\nnames: [cat, dog]\n")
    return {"split": "train"}


def labelme(root):
    save(root / "a.png")
    shape = {"label": "cat", "shape_type": "rectangle", "points": [[1, 2], [11, 22]]}
    (root / "a.json").write_text(json.dumps({"imagePath": "a.png", "shapes": [shape]}))
    return {}


def labelme_xml(root):
    save(root / "a.png")
    corners = "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in ((1, 2), (11, 2), (11, 22)))
    thing = f"<object><name>cat</name><deleted>0</deleted><polygon>{corners}</polygon></object>"
    (root / "a.xml").write_text(f"<annotation><filename>a.png</filename>{thing}</annotation>")
    return {}


def cvat(root):
    save(root / "images" / "a.png")
    box = '<box label="cat" xtl="1" ytl="2" xbr="11" ybr="22"/>'
    (root / "annotations.xml").write_text(f'<annotations><image name="a.png">{box}</image></annotations>')
    return {}


def via(root):
    save(root / "a.png")
    shape = {"name": "rect", "x": 1, "y": 2, "width": 10, "height": 20}
    regions = [{"shape_attributes": shape, "region_attributes": {"kind": "cat"}}]
    (root / "via_region_data.json").write_text(json.dumps({"a.png9": {"filename": "a.png", "regions": regions}}))
    return {}


def createml(root):
    save(root / "a.png")
    found = {"label": "cat", "coordinates": {"x": 6, "y": 12, "width": 10, "height": 20}}
    content = [{"image": "a.png", "annotations": [found]}]
    (root / "_annotations.createml.json").write_text(json.dumps(content))
    return {}


def tf_csv(root):
    save(root / "a.png")
    (root / "_annotations.csv").write_text(
        "filename,width,height,class,xmin,ymin,xmax,ymax\na.png,60,40,cat,1,2,11,22\n"
    )
    return {}


def open_images(root):
    save(root / "a.png")
    (root / "boxes.csv").write_text("ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf\na,/m/cat,0.1,0.5,0.1,0.5,0\n")
    (root / "classes.csv").write_text("/m/cat,Cat\n")
    return {"annotations": "boxes.csv", "class_descriptions": "classes.csv"}


def open_images_labels(root):
    save(root / "images" / "a.png")
    (root / "labels.csv").write_text("ImageID,Source,LabelName,Confidence\na,verification,/m/cat,1\n")
    return {"annotations": "labels.csv", "images": "images"}


def label_studio(root):
    save(root / "a.png")
    value = {"x": 10, "y": 10, "width": 20, "height": 20, "rotation": 0, "rectanglelabels": ["cat"]}
    result = {"type": "rectanglelabels", "original_width": 60, "original_height": 40, "value": value}
    tasks = [{"id": 1, "data": {"image": "/data/upload/a.png"}, "annotations": [{"id": 1, "result": [result]}]}]
    (root / "export.json").write_text(json.dumps(tasks))
    return {"annotations": "export.json"}


def huggingface(root):
    pytest.importorskip("pyarrow")
    save(root / "a.png")
    image = {"bytes": (root / "a.png").read_bytes(), "path": None}
    write_parquet(root / "train.parquet", {"image": [image, image], "label": ["cat", "dog"]})
    return {"path": "train.parquet"}


def packed(root):
    pytest.importorskip("litdata")
    dataset = FolderDataset(root / "source", **folder(root / "source"))
    pack({"val": dataset}, root / "shards", PackOptions())
    for path in (root / "shards").iterdir():
        path.rename(root / path.name)
    return {"split": "val"}


FORMATS = {
    "arrays": arrays,
    "cityscapes": cityscapes,
    "coco": coco,
    "coco_panoptic": panoptic,
    "coco_semantic": coco,
    "createml": createml,
    "csv": table,
    "cvat": cvat,
    "folder": folder,
    "huggingface": huggingface,
    "label_studio": label_studio,
    "labelme": labelme,
    "labelme_xml": labelme_xml,
    "masks": masks,
    "open_images": open_images,
    "open_images_labels": open_images_labels,
    "packed": packed,
    "tf_csv": tf_csv,
    "via": via,
    "voc": voc,
    "voc_segmentation": voc_segmentation,
    "yolo": yolo,
}
WITHOUT_FILES = ["cifar", "mnist", "shapes"]
