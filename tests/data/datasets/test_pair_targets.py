import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from PIL import Image
from pycocotools import mask as rle
from torchvision import tv_tensors

from visionkit.data.datasets.pair_targets import PairTargets
from visionkit.errors import DataError
from visionkit.structures import Sample

BOXES = [[1.0, 2.0, 6.0, 8.0], [0.0, 0.0, 4.0, 3.0]]


def annotate(target, classes=3, first_label=0, report=None):
    """The annotation of an image of 10 x 12 pixels."""
    sample = Sample(np.zeros((10, 12, 3), np.uint8), 0, "train[0]")
    return PairTargets(classes, first_label).annotate(sample, target, {} if report is None else report)


@pytest.mark.parametrize(
    "target", [2, np.int32(2), np.array(2), torch.tensor(2), {"label": 2}, {"label": torch.tensor([2])}]
)
def test_an_integer_is_the_class_of_the_image(target):
    sample = annotate(target)
    assert (sample.label, sample.tags.tolist(), sample.semantic) == (2, [2], None)
    assert type(sample.label) is int


@pytest.mark.parametrize(
    "target",
    [torch.tensor([1.0, 0.0, 1.0]), np.array([True, False, True]), {"tags": [2, 0, 2]}, {"tags": torch.tensor([0, 2])}],
)
def test_a_vector_of_zeros_and_ones_has_the_classes_of_the_image(target):
    sample = annotate(target)
    assert (sample.label, sample.tags.tolist()) == (None, [0, 2])
    assert annotate(torch.zeros(3)).tags.tolist() == []


def masks_of_all_types():
    values = np.random.default_rng(0).integers(0, 3, (10, 12)).astype(np.uint8)
    values[0, 0] = 255
    palette = Image.fromarray(values)
    palette.putpalette([0] * 768)
    tensor = torch.from_numpy(values)
    return values, [
        values,
        palette,
        Image.fromarray(values),
        tensor.long(),
        tv_tensors.Mask(tensor[None]),
        {"semantic": values},
    ]


def test_a_mask_has_the_class_of_each_pixel():
    values, targets = masks_of_all_types()
    for target in targets:
        semantic = annotate(target, first_label=1).semantic
        assert semantic.dtype == np.uint8
        np.testing.assert_array_equal(semantic, values)


def test_a_dict_has_objects():
    masks = torch.zeros(2, 10, 12, dtype=torch.uint8)
    masks[0, 2:8, 1:6] = 1
    masks[1, :3, :4] = 1
    target = {
        "boxes": torch.tensor(BOXES), "labels": torch.tensor([3, 1]), "masks": masks,
        "iscrowd": torch.tensor([0, 1]), "image_id": torch.tensor([77]),
    }  # fmt: skip
    sample = annotate(target, first_label=1)
    annotation = sample.annotation
    assert sample.image_id == 77
    assert annotation.boxes.tolist() == BOXES
    assert (annotation.labels.tolist(), sample.tags.tolist()) == ([2, 0], [0, 2])
    assert (annotation.crowd.tolist(), annotation.difficult.tolist()) == ([False, True], [False, False])
    assert annotation.area.tolist() == [30, 12]
    np.testing.assert_array_equal(rle.decode(annotation.masks).transpose(2, 0, 1), masks)
    assert annotate({**target, "area": [5, 6]}, first_label=1).annotation.area.tolist() == [5, 6]
    assert annotate({"boxes": BOXES, "labels": [0, 1], "image_id": "a"}).image_id == "a"


@pytest.mark.parametrize("empty", [torch.zeros(0, 4), torch.zeros(0), []])
def test_an_image_without_objects(empty):
    masks = torch.zeros(0, 10, 12)
    sample = annotate({"boxes": empty, "labels": torch.zeros(0, dtype=torch.int64), "masks": masks})
    assert sample.annotation.boxes.shape == (0, 4)
    assert (len(sample.annotation), sample.annotation.masks, sample.tags.tolist()) == (0, [], [])


@given(some.lists(some.tuples(*[some.integers(0, 4)] * 2, *[some.integers(5, 10)] * 2), max_size=4))
def test_boxes_of_all_formats_are_the_same_boxes(corners):
    xyxy = torch.tensor(corners, dtype=torch.float32).reshape(-1, 4)
    size = xyxy[:, 2:] - xyxy[:, :2]
    forms = {
        "XYXY": xyxy,
        "XYWH": torch.cat([xyxy[:, :2], size], 1),
        "CXCYWH": torch.cat([xyxy[:, :2] + size / 2, size], 1),
    }
    for form, boxes in forms.items():
        given_boxes = tv_tensors.BoundingBoxes(boxes, format=form, canvas_size=(10, 12))
        sample = annotate({"boxes": given_boxes, "labels": torch.zeros(len(boxes), dtype=torch.int64)})
        np.testing.assert_allclose(sample.annotation.boxes, xyxy.numpy())


def test_boxes_without_area_are_dropped_with_all_that_belongs_to_them():
    masks = torch.zeros(2, 10, 12)
    masks[1, :3, :4] = 1
    report = {}
    target = {"boxes": [[3, 3, 3, 9], BOXES[1]], "labels": [0, 1], "masks": masks, "iscrowd": [0, 1]}
    annotation = annotate(target, report=report).annotation
    assert report == {"boxes without area dropped": 1}
    assert (annotation.labels.tolist(), annotation.crowd.tolist(), annotation.area.tolist()) == ([1], [True], [12])
    assert len(annotation.masks) == 1


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (3, r"train\[0\]: label 3 is outside 0..2\nclass_names has one name per label; if the labels start at 1"),
        (-1, "label -1 is outside"),
        ("cat", "a target is an int, a dict or a mask, not str"),
        (torch.tensor(1.5), "labels are integers, not float32"),
        (torch.tensor([1, 0]), "a vector as target has 3 zeros and ones"),
        (torch.tensor([0, 2, 1]), "a vector as target has 3 zeros and ones"),
        (torch.zeros(12, 10), r"the image has \(10, 12\) pixels, its mask \(12, 10\)"),
        (torch.full((10, 12), 7), r"the mask has the values \[7\]"),
        ({"bbox": BOXES}, r"a target dict has boxes, label, tags or semantic, not \['bbox'\]"),
        ({"boxes": BOXES}, "the target has boxes, but no labels"),
        ({"boxes": BOXES, "labels": [0]}, "2 boxes, but 1 labels"),
        ({"boxes": BOXES, "labels": [0, 3]}, "label 3 is outside"),
        ({"boxes": BOXES, "labels": [0, 1], "iscrowd": [0]}, "2 boxes, but 1 iscrowd"),
        ({"boxes": [[1, 2, 3]], "labels": [0]}, r"boxes have the shape \[N, 4\] \(xyxy in pixels\), not \[1, 3\]"),
        ({"boxes": BOXES, "labels": [0, 1], "masks": torch.zeros(2, 12, 10)}, r"= \[2, 10, 12\], not \[2, 12, 10\]"),
        ({"boxes": [[0, 0, float("nan"), 1]], "labels": [0]}, "NaN"),
    ],
)
def test_targets_that_do_not_fit_are_refused(target, message):
    with pytest.raises(DataError, match=message):
        annotate(target)


def test_labels_from_one_have_no_zero():
    with pytest.raises(DataError, match=r"label 0 is outside 1..3"):
        annotate(0, first_label=1)
