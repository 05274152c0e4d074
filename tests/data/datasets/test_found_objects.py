"""Objects that readers find file by file become a checked dataset."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools import mask as rle

from visionkit.data.datasets.found_objects import (
    FoundImages,
    FoundObject,
    FoundObjectsDataset,
    box_of,
    check_stated_size,
    runs_of,
)
from visionkit.errors import DataError

SQUARE = [10.0, 10.0, 30.0, 10.0, 30.0, 30.0, 10.0, 30.0]


class Found(FoundObjectsDataset):
    """Two images with the given objects."""

    def __init__(self, folder, objects, known=("cat", "dog"), classes=None, masks=False, policy="drop", names="ab"):
        self.source, self.report = Path("list.txt"), {}
        for name in names:
            Image.new("RGB", (64, 48)).save(folder / f"{name}.png")
        images = self.open_images(folder, [f"{name}.png" for name in names], "raise")
        self.fill(images, objects, known, classes, masks, policy)


def test_objects_are_sorted_by_image_and_keep_their_flags(tmp_path):
    objects = [FoundObject(1, "dog", (0, 0, 4, 4), crowd=True), FoundObject(0, "cat", (1, 2, 5, 9), difficult=True)]
    dataset = Found(tmp_path, objects)
    first, second = dataset.annotation(0), dataset.annotation(1)
    assert (first.boxes.tolist(), first.difficult.tolist(), first.crowd.tolist()) == ([[1, 2, 5, 9]], [True], [False])
    assert (second.labels.tolist(), second.crowd.tolist(), second.area.tolist()) == ([1], [True], [16])
    assert (dataset.category_ids, dataset[1].image_id) == ([1, 2], "b.png")


def test_masks_follow_the_order_of_the_objects(tmp_path):
    objects = [FoundObject(1, "cat", box_of([SQUARE]), [SQUARE]), FoundObject(0, "cat", (0, 0, 8, 4))]
    dataset = Found(tmp_path, objects, masks=True)
    masks = [dataset.annotation(index).masks[0] for index in (0, 1)]
    assert [int(rle.area(mask)) for mask in masks] == [32, 400]
    assert dataset.annotation(1).area.tolist() == [400]
    assert dataset.report == {"objects without polygon, whose box is their mask": 1}


def test_masks_of_run_lengths(tmp_path):
    runs = [5 * 48 + 10, 4, 44, 4, 58 * 48 - 14]  # rows 10 to 13 of the columns 5 and 6
    dataset = Found(tmp_path, [FoundObject(0, "cat", (5, 10, 7, 14), runs=runs)], masks=True)
    mask = rle.decode(dataset.annotation(0).masks[0])
    assert np.argwhere(mask).tolist() == [[row, column] for row in range(10, 14) for column in (5, 6)]
    assert (dataset.annotation(0).area.tolist(), dataset.report) == ([8], {})
    with pytest.raises(DataError, match=r"object 'x' has a run-length code of 9 pixels; its image has 3072"):
        Found(tmp_path, [FoundObject(0, "cat", (5, 10, 7, 14), place="x", runs=[5, 4])], masks=True)


def test_repeated_objects_are_dropped_and_counted(tmp_path):
    cat = FoundObject(0, "cat", box_of([SQUARE]), [SQUARE])
    others = [cat._replace(image=1), cat._replace(name="dog"), cat._replace(polygons=()), cat._replace(runs=[3072])]
    dataset = Found(tmp_path, [cat])
    assert dataset.drop_repeats([cat, *others, cat._replace(place="line 9"), cat]) == [cat, *others]
    assert dataset.report == {"repeated objects dropped": 2}
    assert dataset.drop_repeats([]) == []


def test_stated_sizes_are_compared_with_the_files(tmp_path):
    images = FoundImages(tmp_path, ["a.png"], [(48, 64)])
    check_stated_size(images, 0, (48, 64), "a.json")
    with pytest.raises(DataError, match=r"a\.json says that the image has 64 x 48 pixels .* but a\.png has 48 x 64"):
        check_stated_size(images, 0, (64, 48), "a.json")


@given(arrays(bool, st.tuples(st.integers(1, 5), st.integers(1, 5))))
def test_runs_of_a_mask_are_those_of_coco(mask):
    runs = list(runs_of(mask))
    code = rle.frPyObjects({"size": list(mask.shape), "counts": runs}, *mask.shape)
    assert (rle.decode(code) == mask).all()
    assert min(runs[1:], default=1) > 0


def test_classes_of_the_card_are_kept_in_its_order(tmp_path):
    objects = [FoundObject(0, name, (0, 0, 4, 4)) for name in ("cat", "dog", "dog")]
    dataset = Found(tmp_path, objects, classes=["dog"])
    assert (dataset.class_names, len(dataset.objects)) == (["dog"], 2)
    assert dataset.report == {"objects of other classes skipped": 1}


@pytest.mark.parametrize(
    ("objects", "options", "said"),
    [
        ([FoundObject(0, "cow", (0, 0, 4, 4), place="x line 3")], {}, "x line 3: unknown class 'cow'; known: cat, dog"),
        ([FoundObject(0, "cat", (0, 0, 4, 4))], {"classes": ["cow"]}, r"list\.txt has no class cow; it has cat, dog"),
        ([FoundObject(0, "cat", (0, 0, 4, 4))], {"classes": ["dog"]}, "no objects of the classes dog"),
        ([], {}, "no objects of the classes cat, dog"),
        ([FoundObject(0, "cat", (0, 0, float("nan"), 4), place="x")], {}, "x: the box .* has NaN"),
        ([FoundObject(0, "cat", (0, 0, 1e30, 4), place="x")], {}, "x: the box .* too large"),
        ([FoundObject(0, "cat", (5, 5, 5, 5))], {"policy": "raise"}, "has no area"),
        ([FoundObject(0, "cat", (0, 0, 4, 4))], {"masks": True}, "no object has a polygon or mask"),
        ([FoundObject(0, "cat", (0, 0, 4, 4), [[1.0, 2.0, 3.0]], "x")], {"masks": True}, "object 'x' has a polygon"),
        ([FoundObject(0, "cat", (0, 0, 4, 4))], {"known": ["cat", " "]}, "cannot be the name of a class"),
        ([FoundObject(0, "cat", (0, 0, 4, 4))], {"names": "aa"}, "occur more than once"),
        ([FoundObject(0, "cat", (0, 0, 4, 4))], {"names": ""}, "has no images"),
    ],
)
def test_unusable_objects_are_refused_with_their_place(objects, options, said, tmp_path):
    with pytest.raises(DataError, match=said):
        Found(tmp_path, objects, **options)


def test_impossible_sizes_are_refused(tmp_path):
    dataset = Found(tmp_path, [FoundObject(0, "cat", (0, 0, 4, 4))])
    for size in ((0, 5), (10**6, 10**6)):
        with pytest.raises(DataError, match="pixels"):
            dataset.fill(FoundImages(tmp_path, ["a.png"], [size]), [], ["cat"], None, False, "drop")


def test_a_stated_size_that_differs_from_the_file_is_an_error(tmp_path):
    dataset = Found(tmp_path, [FoundObject(0, "cat", (0, 0, 4, 4))])
    dataset.sizes = np.array([[40, 40], [48, 64]])
    with pytest.raises(DataError, match="40 x 40"):
        dataset[0]
