import numpy as np
import pytest
from PIL import Image

from visionkit.data.datasets.voc_segmentation import VocSegmentation, voc_colors
from visionkit.errors import DataError

MASK = np.array([[0, 15, 255], [20, 1, 255]], np.uint8)


@pytest.fixture
def root(tmp_path):
    """Two images of 3 x 2 pixels, as VOC has them."""
    top = tmp_path / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (top / folder).mkdir(parents=True)
    for name in ("2007_000001", "2007_000002"):
        Image.new("RGB", (3, 2)).save(top / "JPEGImages" / f"{name}.jpg")
        mask = Image.frombytes("P", (3, 2), MASK.tobytes())
        mask.putpalette([channel for color in voc_colors(256) for channel in color])
        mask.save(top / "SegmentationClass" / f"{name}.png")
    (top / "ImageSets" / "Segmentation" / "val.txt").write_text("2007_000002\n2007_000001\n")
    return tmp_path


def opened(root, **options):
    return VocSegmentation(root, **{"image_set": "val", "folder": "VOCdevkit/VOC2012", **options})


def test_images_of_the_list_with_their_masks(root):
    voc = opened(root)
    assert [voc.image_id(index) for index in range(len(voc))] == ["2007_000002", "2007_000001"]
    sample = voc[0]
    assert (sample.image_id, sample.file_name) == ("2007_000002", "2007_000002.jpg")
    assert sample.semantic.tolist() == MASK.tolist()
    assert len(voc.class_names) == 21
    assert [voc.class_names[index] for index in (0, 1, 15, 20)] == ["background", "aeroplane", "person", "tvmonitor"]
    assert voc.category_ids == list(range(21))


def test_colors_are_those_of_the_devkit():
    """As its README shows them for the first and the last classes, and for the void border."""
    colors = voc_colors(256)
    assert colors[:5] == [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128)]
    assert (colors[15], colors[20], colors[255]) == ((192, 128, 128), (0, 64, 128), (224, 224, 192))


def test_own_classes_in_voc_s_layout(root):
    with pytest.raises(
        DataError, match=r"000002.png has the values 0, 1, 15, 20, 255; neither a class nor `ignore` has 15, 20"
    ):
        opened(root, classes=["background", "cat"]).semantic(0)


def test_what_is_missing_or_listed_twice_is_named(root):
    top = root / "VOCdevkit" / "VOC2012"
    (top / "SegmentationClass" / "2007_000001.png").unlink()
    with pytest.raises(DataError, match=r"1 masks are missing: .*000001.png"):
        opened(root)
    with pytest.raises(DataError, match=r"the annotation file .*train.txt does not exist"):
        opened(root, image_set="train")
    (top / "ImageSets" / "Segmentation" / "val.txt").write_text("2007_000002\n2007_000002\n")
    with pytest.raises(DataError, match="occur more than once"):
        opened(root)
