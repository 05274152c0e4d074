"""Masks of Open Images."""

import numpy as np
import pytest
from PIL import Image

from visionkit.data.datasets.open_images_masks import MaskTable
from visionkit.errors import DataError

HEADER = "MaskPath,ImageID,LabelName,BoxXMin,BoxXMax,BoxYMin,BoxYMax"
BOX = (0.25, 0.0, 1.0, 0.5)  # x1, y1, x2, y2


@pytest.fixture
def table(tmp_path):
    values = np.zeros((2, 4), np.uint8)
    values[0, 1:] = 255
    Image.fromarray(values).save(tmp_path / "m.png")
    Image.fromarray(np.stack([0 * values, values, 0 * values], axis=2)).save(tmp_path / "color.png")
    (tmp_path / "empty.png").write_bytes(b"no image")
    rows = ["m.png,a,/m/1,0.25,1,0,0.5", "color.png,b,/m/1,0.250001,1,0,0.5", "empty.png,c,/m/1,0.25,1,0,0.5"]
    (tmp_path / "masks.csv").write_text("\n".join([HEADER, *rows]))
    return MaskTable(tmp_path / "masks.csv", tmp_path)


@pytest.mark.parametrize("image", ["a", "b"])
def test_masks_are_found_by_image_label_and_box_up_to_rounding(table, image):
    assert list(table.take(image, "/m/1", BOX, (2, 4))) == [2, 1, 1, 1, 1, 1, 1]
    assert list(table.take(image, "/m/1", BOX, (4, 4))) == [4, 2, 2, 2, 2, 2, 2]  # twice as high
    assert len(table.take(image, "/m/2", BOX, (2, 4))) == len(table.take(image, "/m/1", (0.3, 0, 1, 0.5), (2, 4))) == 0
    assert table.report() == {"masks without a box left out": 2, "empty masks left out": 0}


def test_broken_files_are_named(table):
    with pytest.raises(DataError, match=r"the mask .*empty\.png cannot be read"):
        table.take("c", "/m/1", BOX, (2, 4))
