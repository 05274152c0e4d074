"""A million boxes in one image, by format."""

import csv
import json
import time

import pytest
from PIL import Image

from tests.helpers.arrow_files import write_parquet
from visionkit.data.datasets.createml import Createml
from visionkit.data.datasets.cvat import Cvat
from visionkit.data.datasets.huggingface import HuggingFace
from visionkit.data.datasets.label_studio import LabelStudio
from visionkit.data.datasets.labelme import Labelme
from visionkit.data.datasets.open_images import OpenImages
from visionkit.data.datasets.tf_csv import TFCsv
from visionkit.data.datasets.via import Via
from visionkit.data.datasets.yolo import Yolo

COUNT = 10**6
SECONDS = 20.0


def shares(index):
    """Left, top, right and bottom of a box, from 0 to 1; every box is another one."""
    left, top = index % 1000 / 1250, index // 1000 / 1250
    return left, top, left + 0.1, top + 0.1


def label_studio(folder):
    results = [
        {
            "type": "rectanglelabels",
            "value": {"x": 100 * x1, "y": 100 * y1, "width": 10, "height": 10, "rectanglelabels": ["a"]},
        }
        for x1, y1, _, _ in map(shares, range(COUNT))
    ]
    (folder / "a.json").write_text(json.dumps([{"data": {"image": "a.png"}, "annotations": [{"result": results}]}]))
    return lambda: LabelStudio(folder, "a.json")


def tf_csv(folder):
    with (folder / "a.csv").open("w") as file:
        file.write("filename,width,height,class,xmin,ymin,xmax,ymax\n")
        file.writelines(f"a.png,640,640,a,{','.join(f'{640 * s:.3f}' for s in shares(i))}\n" for i in range(COUNT))
    return lambda: TFCsv(folder, "a.csv")


def open_images(folder):
    with (folder / "a.csv").open("w") as file:
        file.write("ImageID,LabelName,XMin,YMin,XMax,YMax\n")
        file.writelines(f"a,/m/1,{','.join(f'{s:.5f}' for s in shares(i))}\n" for i in range(COUNT))
    return lambda: OpenImages(folder, "a.csv")


def yolo(folder):
    (folder / "classes.txt").write_text("a\n")
    with (folder / "a.txt").open("w") as file:
        file.writelines(f"0 {x1 + 0.05:.5f} {y1 + 0.05:.5f} 0.1 0.1\n" for x1, y1, _, _ in map(shares, range(COUNT)))
    return lambda: Yolo(folder, dataset="classes.txt", images=".")


def pixels(index):
    return [round(640 * share, 3) for share in shares(index)]


def labelme(folder):
    boxes = map(pixels, range(COUNT))
    shapes = [{"label": "a", "shape_type": "rectangle", "points": [box[:2], box[2:]]} for box in boxes]
    (folder / "a.json").write_text(json.dumps({"imagePath": "a.png", "shapes": shapes}))
    return lambda: Labelme(folder)


def cvat(folder):
    with (folder / "a.xml").open("w") as file:
        file.write('<annotations><image name="a.png" width="640" height="640">')
        for x1, y1, x2, y2 in map(pixels, range(COUNT)):
            file.write(f'<box label="a" xtl="{x1}" ytl="{y1}" xbr="{x2}" ybr="{y2}"/>\n')
        file.write("</image></annotations>")
    return lambda: Cvat(folder, "a.xml")


def regions():
    for x, y, _, _ in map(pixels, range(COUNT)):
        yield {"name": "rect", "x": x, "y": y, "width": 64, "height": 64}


def via(folder):
    listed = [{"shape_attributes": shape, "region_attributes": {"kind": "a"}} for shape in regions()]
    (folder / "a.json").write_text(json.dumps({"a.png1": {"filename": "a.png", "size": 1, "regions": listed}}))
    return lambda: Via(folder, "a.json")


def via_csv(folder):
    with (folder / "a.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["filename", "region_shape_attributes", "region_attributes"])
        rows.writerows(["a.png", json.dumps(shape), '{"kind": "a"}'] for shape in regions())
    return lambda: Via(folder, "a.csv")


def createml(folder):
    boxes = ({"x": x1 + 32, "y": y1 + 32, "width": 64, "height": 64} for x1, y1, _, _ in map(pixels, range(COUNT)))
    found = [{"label": "a", "coordinates": box} for box in boxes]
    (folder / "a.json").write_text(json.dumps([{"image": "a.png", "annotations": found}]))
    return lambda: Createml(folder, "a.json")


def huggingface(folder):
    pytest.importorskip("pyarrow")
    boxes = [[x1, y1, 64.0, 64.0] for x1, y1, _, _ in map(pixels, range(COUNT))]
    image = {"bytes": (folder / "a.png").read_bytes(), "path": None}
    write_parquet(folder / "a.parquet", {"image": [image], "objects": [{"bbox": boxes, "category": ["a"] * COUNT}]})
    return lambda: HuggingFace(folder, "a.parquet")._dataset


WRITERS = [label_studio, tf_csv, open_images, yolo, labelme, cvat, via, via_csv, createml, huggingface]


@pytest.mark.slow
@pytest.mark.parametrize("write", WRITERS)
def test_a_million_boxes_are_read_in_seconds(write, tmp_path):
    Image.new("RGB", (640, 640)).save(tmp_path / "a.png")
    read = write(tmp_path)
    start = time.process_time()
    assert len(read().objects) == COUNT
    assert time.process_time() - start < SECONDS
