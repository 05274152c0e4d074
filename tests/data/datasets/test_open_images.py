"""Tables of boxes and masks of Open Images."""

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle

from tests.helpers.real_data import real_data
from visionkit.data.datasets.open_images import OpenImages
from visionkit.errors import ConfigError, DataError

HEADER = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
CAT = "0a1b,xclick,/m/cat,1,0.25,0.5,0.5,1,0,0,0,0,0"
DOGS = "0a1b,xclick,/m/dog,1,0,1,0,0.5,-1,-1,1,0,0"
OTHER = "2c3d,xclick,/m/cat,1,0.5,1,0.5,1,0,0,-1,0,0"
CLASSES = "/m/dog,Dog\n/m/cat,Cat\n/m/cow,Cow\n"
MASK_HEADER = "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks"
CAT_MASK = "cat.png,0a1b,/m/cat,77,0.250000,0.500000,0.500000,1.000000,0.9,"


@pytest.fixture
def written(tmp_path):
    """A function that writes tables, images and a mask, and returns the dataset."""

    def write(*rows, header=HEADER, classes_text=CLASSES, masks=(), mask_size=(64, 48), **options):
        for name in ("0a1b.jpg", "2c3d.png"):
            (tmp_path / "images").mkdir(exist_ok=True)
            Image.new("RGB", (64, 48)).save(tmp_path / "images" / name)
        (tmp_path / "boxes.csv").write_text("\n".join([header, *rows]) + "\n")
        (tmp_path / "classes.csv").write_text(classes_text)
        (tmp_path / "masks.csv").write_text("\n".join([MASK_HEADER, *masks]) + "\n")
        mask = np.zeros(mask_size[::-1], bool)
        mask[mask_size[1] // 2 :, mask_size[0] // 4 : mask_size[0] // 2] = True
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(tmp_path / "masks" / "cat.png")
        if masks:
            options = {"masks": True, "segmentations": "masks.csv", **options}
        return OpenImages(tmp_path, "boxes.csv", "images", **{"class_descriptions": "classes.csv", **options})

    return write


def test_shares_become_pixels_and_groups_crowds(written):
    dataset = written(CAT, DOGS, OTHER)
    assert [dataset.image_id(index) for index in (0, 1)] == ["0a1b.jpg", "2c3d.png"]
    annotation = dataset[0].annotation
    assert annotation.boxes.tolist() == [[16, 24, 32, 48], [0, 0, 64, 24]]
    assert (annotation.labels.tolist(), annotation.crowd.tolist()) == ([1, 0], [False, True])
    assert dataset.annotation(1).crowd.tolist() == [False]
    assert (dataset.class_names, dataset.report) == (["Dog", "Cat", "Cow"], {})


def test_the_descriptions_of_version_7_have_a_header(written):
    assert written(CAT, classes_text=f"LabelName,DisplayName\n{CLASSES}").class_names == ["Dog", "Cat", "Cow"]


def test_labels_are_names_without_descriptions(written):
    assert written(DOGS, CAT, class_descriptions=None).class_names == ["/m/cat", "/m/dog"]
    assert written(DOGS, class_descriptions=None, classes=["/m/cow", "/m/dog"]).class_names == ["/m/cow", "/m/dog"]


def test_a_table_without_flags_has_no_crowds(written):
    dataset = written("0a1b,/m/dog,0,1,0,1", header="ImageID,LabelName,XMin,XMax,YMin,YMax")
    assert dataset.annotation(0).crowd.tolist() == [False]


def test_images_without_rows(written):
    assert written(CAT).report == {"images of the folder without rows left out": 1}
    assert [len(written(CAT, unlisted="empty").annotation(index)) for index in (0, 1)] == [1, 0]


@pytest.mark.parametrize("mask_size", [(64, 48), (128, 96), (32, 24)])
def test_masks_of_any_size_are_those_of_their_box(written, mask_size):
    dataset = written(DOGS, CAT, masks=[CAT_MASK], mask_size=mask_size)
    dog, cat = (rle.decode(mask) for mask in dataset.annotation(0).masks)
    assert cat[24:, 16:32].all()
    assert (cat.sum(), dog.sum(), dataset.annotation(0).area.tolist()) == (16 * 24, 64 * 24, [64 * 24, 16 * 24])
    assert dataset.report["objects without polygon, whose box is their mask"] == 1


def test_masks_that_are_not_used_are_counted(written, tmp_path):
    Image.new("1", (64, 48)).save(tmp_path / "empty.png")
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "empty.png").write_bytes((tmp_path / "empty.png").read_bytes())
    other = CAT_MASK.replace("cat.png,0a1b", "empty.png,2c3d")
    far = CAT_MASK.replace("0.500000,1.0", "0.600000,1.0")
    dataset = written(CAT, OTHER.replace("0.5,1,0.5,1", "0.25,0.5,0.5,1"), masks=[CAT_MASK, other, far])
    assert dataset.report == {
        "masks without a box left out": 1,
        "empty masks left out": 1,
        "objects without polygon, whose box is their mask": 1,
    }


def test_files_of_masks_of_other_classes_are_not_read(written):
    dog = "gone.png,0a1b,/m/dog,78,0,1,0,0.5,0.9,"
    assert len(written(CAT, DOGS, masks=[CAT_MASK, dog], classes=["Cat"]).objects) == 1
    with pytest.raises(DataError, match=r"gone\.png does not exist"):
        written(CAT, DOGS, masks=[CAT_MASK, dog])


def test_masks_need_their_table(written):
    with pytest.raises(ConfigError, match="set segmentations="):
        written(CAT, masks=[CAT_MASK], segmentations=None)


@pytest.mark.parametrize(
    ("masks", "said"),
    [
        ([CAT_MASK, CAT_MASK.replace("cat.png", "dog.png")], "line 3: another row has a mask of the same box"),
        ([CAT_MASK.replace("cat.png", "../images/0a1b.jpg")], "outside"),
        ([CAT_MASK.replace("0.25", "x")], r"masks\.csv, line 2: BoxXMin is 'x0000', not a finite number"),
    ],
)
def test_wrong_rows_of_masks_are_named(masks, said, written):
    with pytest.raises(DataError, match=said):
        written(CAT, masks=masks)


@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        ([], {}, "has no rows"),
        ([CAT.replace("0a1b", "")], {}, "line 2: the ImageID is empty"),
        ([CAT.replace("/m/cat", "")], {}, "line 2: the LabelName is empty"),
        ([CAT, CAT.replace("0.25", "nan")], {}, "line 3: XMin is 'nan', not a finite number"),
        ([CAT.replace("0.25", "16")], {}, "line 2: the box .* is not in shares"),
        ([DOGS.replace("-1,-1,1", "-1,-1,2")], {}, "line 2: IsGroupOf is '2', not 0, 1 or -1"),
        ([CAT.replace("/m/cat", "/m/x")], {}, "line 2: '/m/x' is not in the class descriptions"),
        ([CAT, DOGS], {"classes_text": "/m/cat,Cat\n/m/dog,Cat\n"}, "the labels /m/cat and /m/dog are both Cat"),
        ([CAT], {"classes_text": "/m/cat,Cat\n/m/cat,Dog\n"}, r"classes\.csv, line 2: the label '/m/cat' occurs twice"),
        ([CAT], {"classes_text": "\n"}, "describes no classes"),
        ([CAT.replace("0a1b", "ffff")], {}, r"1 of 1 images are missing: ffff\.jpg"),
        ([CAT.replace("0a1b", "../0a1b")], {}, "outside"),
        ([CAT], {"classes": ["Bird"]}, "has no class Bird; it has Dog, Cat, Cow"),
    ],
)
def test_wrong_rows_are_named(rows, options, said, written):
    with pytest.raises(DataError, match=said) as caught:
        written(*rows, **options)
    assert len(str(caught.value).splitlines()) <= 5


def test_files_of_version_6():
    folder = real_data("annotation-formats") / "datumaro_tiny" / "open_images_dataset" / "v6"
    classes = "annotations/oidv6-class-descriptions.csv"
    test = OpenImages(folder, "annotations/test-annotations-bbox.csv", "images/test", classes)
    annotation = test.annotation(0)
    assert (annotation.boxes.tolist(), annotation.labels.tolist(), annotation.crowd.tolist()) == (
        [[3.5, 0, 4, 5]],
        [3],
        [True],
    )
    train = OpenImages(
        folder, "annotations/oidv6-train-annotations-bbox.csv", "images/train", classes, unlisted="empty"
    )
    assert (len(train), train.report["boxes without area dropped"]) == (2, 1)  # an image of 2 x 8 pixels
