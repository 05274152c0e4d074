"""A million boxes in one image, by format."""

import json
import time

import pytest
from PIL import Image

from visionkit.data.datasets.label_studio import LabelStudio
from visionkit.data.datasets.open_images import OpenImages
from visionkit.data.datasets.tf_csv import TFCsv

COUNT = 10**6
SECONDS = 10.0


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


@pytest.mark.slow
@pytest.mark.parametrize("write", [label_studio, tf_csv, open_images])
def test_a_million_boxes_are_read_in_seconds(write, tmp_path):
    Image.new("RGB", (640, 640)).save(tmp_path / "a.png")
    read = write(tmp_path)
    start = time.process_time()
    assert len(read().objects) == COUNT
    assert time.process_time() - start < SECONDS
