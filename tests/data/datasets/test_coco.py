import gc
import json
import multiprocessing
import os
import pickle
import re

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle

from tests.helpers.real_data import real_data
from visionkit.data.datasets.coco import Coco
from visionkit.errors import DataError


@pytest.fixture
def small(tmp_path):
    """A function that writes a dataset of two 40 x 60 images, changed by the caller, and returns its root."""

    def write(change=lambda content: None, text=None):
        content = {
            "images": [
                {"id": 7, "file_name": "a.png", "height": 40, "width": 60},
                {"id": 3, "file_name": "b.png", "height": 40, "width": 60},
            ],
            "categories": [{"id": 90, "name": "brush"}, {"id": 5, "name": "plane"}],
            "annotations": [
                {"id": 0, "image_id": 7, "category_id": 90, "bbox": [1, 2, 10, 20], "area": 99.5, "iscrowd": 0,
                 "segmentation": [[1, 2, 11, 2, 11, 22, 1, 22]]},
                {"id": 1, "image_id": 7, "category_id": 5, "bbox": [0, 0, 30, 30], "area": 500, "iscrowd": 1,
                 "segmentation": {"size": [40, 60], "counts": [0, 30, 2370]}},
            ],
        }  # fmt: skip
        change(content)
        (tmp_path / "images").mkdir(exist_ok=True)
        for name in ("a", "b"):
            Image.new("RGB", (60, 40)).save(tmp_path / "images" / f"{name}.png")
        (tmp_path / "instances.json").write_text(text or json.dumps(content))
        return tmp_path

    return write


def read(root, **options):
    return Coco(root, "instances.json", "images", **options)


def test_gappy_unsorted_ids_become_labels_and_stay_known(small):
    coco = read(small(), masks=True)
    assert (coco.class_names, coco.category_ids) == (["plane", "brush"], [5, 90])
    sample = coco[0]
    assert sample.image_id == 7
    assert sample.annotation.labels.tolist() == [1, 0]
    assert sample.annotation.boxes.tolist() == [[1, 2, 11, 22], [0, 0, 30, 30]]
    assert sample.annotation.crowd.tolist() == [False, True]
    assert sample.annotation.area.tolist() == [99.5, 500]
    assert rle.area(sample.annotation.masks[0]) == 200
    assert rle.area(sample.annotation.masks[1]) == 30
    assert len(coco[1].annotation) == 0


def test_categories_with_one_name_are_one_class(small):
    def repeat(content):
        content["categories"].append({"id": 91, "name": "brush"})
        content["annotations"].append({"id": 2, "image_id": 3, "category_id": 91, "bbox": [1, 2, 10, 20]})

    coco = read(small(repeat))
    assert coco.class_names == ["plane", "brush"]
    assert [coco.annotation(index).labels.tolist() for index in range(2)] == [[1, 0], [1]]
    assert coco.report == {"objects of categories with a repeated name, taken as one class": 1}
    assert read(small(repeat), classes=["brush"]).report["objects of other classes skipped"] == 1


def test_chosen_classes_leave_the_others_out_and_count_them(small):
    coco = read(small(), classes=["brush"])
    assert coco.category_ids == [90]
    assert coco[0].annotation.labels.tolist() == [0]
    assert coco.report == {"objects of other classes skipped": 1}


def test_a_pattern_keeps_the_images_of_a_split_with_their_objects(small):
    def two_splits(content):
        content["images"][0]["file_name"] = "train/a.png"
        content["images"][1]["file_name"] = "val/inner/gone.png"
        content["annotations"].append({"id": 2, "image_id": 3, "category_id": 90, "bbox": [1, 2, -10, 0]})
        content["annotations"].append({"id": 2, "image_id": 3, "category_id": 8, "bbox": "no box"})

    root = small(two_splits)
    (root / "images" / "train").mkdir()
    (root / "images" / "a.png").rename(root / "images" / "train" / "a.png")
    coco = read(root, only="train/*", masks=True)
    assert ([*coco.file_names], [*coco.image_ids]) == (["train/a.png"], [7])
    assert coco[0].annotation.labels.tolist() == [1, 0]
    assert coco.report == {}
    for pattern in (None, "val/*"):
        with pytest.raises(DataError, match=r"images are missing.*val/inner/gone\.png"):
            read(root, only=pattern)


@pytest.mark.parametrize("pattern", ["test/*", "A.png", "a", ""])
def test_a_pattern_that_matches_no_image_is_refused_with_a_file_name(small, pattern):
    message = f"(?s)instances.json: no image has a file name that matches only: '{re.escape(pattern)}'.*'a.png'"
    with pytest.raises(DataError, match=message):
        read(small(), only=pattern)


def test_an_unknown_image_is_refused_beside_a_pattern(small):
    with pytest.raises(DataError, match="unknown image 8"):
        read(small(change("annotations", 0, image_id=8)), only="a.png")


def test_a_repeated_image_id_is_refused_even_if_one_image_is_left_out(small):
    with pytest.raises(DataError, match="image ids occur more than once: 7"):
        read(small(change("images", 1, id=7)), only="a.png")


def change(part, number, **values):
    return lambda content: content[part][number].update(values)


BAD = {
    "unknown image": (change("annotations", 0, image_id=8), "unknown image 8"),
    "unknown category": (change("annotations", 0, category_id=8), "unknown category 8"),
    "double image id": (change("images", 1, id=7), "image ids occur more than once: 7"),
    "double annotation id": (change("annotations", 1, id=0), "annotation ids occur more than once: 0"),
    "missing image": (change("images", 0, file_name="c.png"), "1 images are missing.*c.png"),
    "climbing name": (change("images", 0, file_name="../../etc/passwd"), r"'\.\./\.\./etc/passwd' is outside .*images"),
    "absolute name": (change("images", 0, file_name="/etc/passwd"), "'/etc/passwd' is outside .*images"),
    "NaN box": (change("annotations", 0, bbox=[1, 2, float("nan"), 4]), "NaN"),
    "three numbers": (change("annotations", 0, bbox=[1, 2, 3]), "must be a box of four numbers"),
    "no box": (lambda content: content["annotations"][0].pop("bbox"), "annotation 0 has no bbox"),
    "no categories": (lambda content: content.pop("categories"), "is not a COCO instances file: it has no categories"),
    "no objects": (lambda content: content.update(annotations=[]), "has no objects of the classes"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_with_the_reason(small, case):
    spoil, message = BAD[case]
    with pytest.raises(DataError, match=f"(?s){message}") as caught:
        read(small(spoil))
    assert len(str(caught.value).splitlines()) <= 5


HOSTILE_ENTRIES = {
    "images null": (lambda content: content.update(images=None), "images must be a list, not None"),
    "annotations null": (lambda content: content.update(annotations=None), "annotations must be a list, not None"),
    "categories object": (lambda content: content.update(categories={}), "categories must be a list, not {}"),
    "entry null": (lambda content: content["images"].append(None), "entry 2 of images must be an object, not None"),
    "file name number": (change("images", 0, file_name=5), "image 7 has the file_name 5; it must be a string"),
    "file name blank": (change("images", 0, file_name=""), "image 7 has the file_name ''; it must be text"),
    "file name surrogate": (change("images", 0, file_name="\ud800.png"), "it must be text that is not blank"),
    "id list": (change("images", 0, id=[]), r"entry 0 of images has the id \[\]; it must be an integer or a string"),
    "id fraction": (change("images", 0, id=1.5), r"entry 0 of images has the id 1\.5"),
    "id true": (change("images", 0, id=True), "entry 0 of images has the id True"),
    "height null": (change("images", 0, height=None), "image 7 has the height None; it must be an integer from 1"),
    "height fraction": (change("images", 0, height=48.7), r"image 7 has the height 48\.7; it must be an"),
    "height text": (change("images", 0, height="40"), "image 7 has the height '40'"),
    "height zero": (change("images", 0, height=0), "image 7 has the height 0"),
    "height infinite": (change("images", 0, height=float("inf")), "image 7 has the height inf"),
    "width NaN": (change("images", 0, width=float("nan")), "image 7 has the width nan"),
    "width huge": (change("images", 0, width=10**12), "image 7 has the width 1000000000000"),
    "too many pixels": (change("images", 0, width=10**5, height=10**5), r"image 7 has \[100000, 100000\] pixels; at"),
    "category id text": (change("categories", 0, id="90"), "category '90' has the id '90'"),
    "category name null": (change("categories", 0, name=None), "category 90 has the name None"),
    "category name list": (change("categories", 0, name=["a"]), r"category 90 has the name \['a'\]"),
    "category name surrogate": (change("categories", 0, name="\ud800"), "category 90 has the name"),
    "image id list": (change("annotations", 0, image_id=[7]), r"annotation 0 has the image_id \[7\]"),
    "category object": (change("annotations", 0, category_id={}), "annotation 0 has the category_id {}"),
    "box text": (change("annotations", 0, bbox=["a"]), r"annotation 0 has the bbox \['a'\]"),
    "box of texts": (change("annotations", 0, bbox=["1", "2", "3", "4"]), "annotation 0 has the bbox"),
    "box null": (change("annotations", 0, bbox=None), "annotation 0 has the bbox None"),
    "box infinite": (change("annotations", 0, bbox=[0, 0, 1e39, 1]), "annotation 0 has the bbox .*infinite"),
    "box huge": (change("annotations", 0, bbox=[0, 0, 10**400, 1]), "annotation 0 has the bbox .*infinite"),
    "crowd text": (change("annotations", 0, iscrowd="0"), "annotation 0 has the iscrowd '0'; it must be 0 or 1"),
    "crowd two": (change("annotations", 0, iscrowd=2), "annotation 0 has the iscrowd 2; it must be 0 or 1"),
    "area negative": (change("annotations", 0, area=-5), "annotation 0 has the area -5; it must be a finite number"),
    "area text": (change("annotations", 0, area="5"), "annotation 0 has the area '5'"),
    "area NaN": (change("annotations", 0, area=float("nan")), "annotation 0 has the area nan"),
    "area huge": (change("annotations", 0, area=10**400), "annotation 0 has the area"),
    "annotation id list": (change("annotations", 0, id=[]), r"annotation of image 7 has the id \[\]"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE_ENTRIES)
def test_values_of_the_wrong_kind_are_refused_with_file_and_id(small, case):
    spoil, message = HOSTILE_ENTRIES[case]
    with pytest.raises(DataError, match=rf"(?s)instances\.json: .*{message}") as caught:
        read(small(spoil))
    assert len(str(caught.value)) < 600


def test_deep_json_is_refused(small):
    with pytest.raises(DataError, match=r"instances\.json is not usable JSON: its values are nested too deeply"):
        read(small(text='{"images":' + "[" * 100_000))
    deep = "[" * 400 + "]" * 400
    with pytest.raises(DataError, match=r"image 1 has the file_name \[\[\["):
        read(small(text=f'{{"images": [{{"id": 1, "file_name": {deep}}}], "categories": [], "annotations": []}}'))


def test_what_other_tools_write_is_read_alike(small):
    """Whole numbers with a point, true and false, ids that are text, and null for what is optional."""

    def respell(content):
        content["images"][0].update(id="seven", height=40.0)
        for entry, crowd in zip(content["annotations"], (None, True), strict=True):
            entry.update(image_id="seven", iscrowd=crowd, id=str(entry["id"]))
        content["annotations"][0]["area"] = None

    coco = read(small(respell))
    assert coco[0].image_id == "seven"
    assert coco[0].annotation.crowd.tolist() == [False, True]
    assert coco[0].annotation.area.tolist() == [200, 500]


def test_malformed_json_is_refused_with_its_place(small):
    with pytest.raises(DataError, match=r"not JSON.*line 1"):
        read(small(text='{"images": ['))


def test_missing_root_and_missing_file_are_named(tmp_path, small):
    with pytest.raises(DataError, match="does not exist"):
        read(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"the annotation file .*other\.json does not exist"):
        Coco(small(), "other.json")


def test_a_link_out_of_the_root_is_refused(small, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "x.png"
    Image.new("RGB", (60, 40)).save(elsewhere)
    root = small(change("images", 0, file_name="link.png"))
    (root / "images" / "link.png").symlink_to(elsewhere)
    with pytest.raises(DataError, match=r"'link\.png' is outside .*images"):
        read(root)


def test_boxes_are_dropped_clipped_and_counted(small):
    def spoil(content):
        for number, box in enumerate([[5, 5, 0, 3], [50, 30, 11, 11], [50, 30, 40, 5], [100, 100, 5, 5]]):
            content["annotations"].append({"id": 10 + number, "image_id": 3, "category_id": 5, "bbox": box})

    coco = read(small(spoil))
    assert coco.report == {
        "boxes without area dropped": 1,
        "boxes outside their image dropped": 1,
        "boxes clipped by up to 2 px": 1,
        "boxes clipped by more than 2 px": 1,
    }
    assert coco.annotation(1).boxes.tolist() == [[50, 30, 60, 40], [50, 30, 60, 35]]
    with pytest.raises(DataError, match="has no area inside its image"):
        read(small(spoil), on_bad_box="raise")


def test_corners_taken_for_sizes_are_noticed(small):
    def spoil(content):
        boxes = [[20 + k, 15 + k, 50, 35] for k in range(8)]
        content["annotations"] += [
            {"id": 10 + k, "image_id": 3, "category_id": 5, "bbox": box} for k, box in enumerate(boxes)
        ]

    with pytest.raises(DataError, match=r"80 % of the boxes end outside(.|\n)*these seem to be \[x1, y1, x2, y2\]"):
        read(small(spoil))


def test_a_size_that_differs_from_the_image_is_refused(small):
    coco = read(small(change("images", 0, height=60, width=40)))
    with pytest.raises(DataError, match=r"has 40 x 60 pixels.*says 60 x 40"):
        coco[0]


def test_memory_does_not_grow_with_python_objects():
    """Ten times the objects may need ten times the memory in arrays, but no Python object per annotation."""
    import gc
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        names = [f"{k}.png" for k in range(200)]
        for name in names:
            (root / name).touch()
        content = {
            "images": [{"id": k, "file_name": name, "height": 400, "width": 600} for k, name in enumerate(names)],
            "categories": [{"id": 1, "name": "a"}],
            "annotations": [
                {"id": k, "image_id": k % 200, "category_id": 1, "bbox": [1, 2, 10, 20],
                 "segmentation": [[1, 2, 11, 2, 11, 22]]} for k in range(20_000)
            ],
        }  # fmt: skip
        (root / "i.json").write_text(json.dumps(content))
        del content
        gc.collect()
        before = len(gc.get_objects())
        coco = Coco(root, "i.json", masks=True)
        gc.collect()
        assert len(gc.get_objects()) - before < 1000
        assert len(coco.annotation(3)) == 100
        assert len(pickle.dumps(coco)) < 20_000 * 200


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="only Linux tells private memory")
def test_the_private_memory_of_a_worker_does_not_grow(small):
    """A worker shares the arrays with its parent; reading Python objects would copy their pages into the worker."""
    polygon = [float(k) for k in range(40)]

    def many(content):
        content["annotations"] = [
            {"id": k, "image_id": (3, 7)[k % 2], "category_id": 5, "bbox": [1, 2, 10, 20], "segmentation": [polygon]}
            for k in range(20_000)
        ]

    coco = read(small(many), masks=True)
    growth: multiprocessing.Queue[int] = multiprocessing.get_context("fork").Queue()
    worker = multiprocessing.get_context("fork").Process(target=read_twice, args=(coco, growth))
    worker.start()
    assert growth.get(timeout=60) < 4 * 1024
    worker.join()


def read_twice(coco, growth):
    """Report by how many KiB private memory grows from the first image to the end of the second epoch."""

    def private():
        with open("/proc/self/smaps_rollup") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith("Private_"))

    gc.disable()  # a collection would write to the pages of every object of the process of all tests
    rows = range(len(coco.objects))
    coco.object_masks.code(0, (40, 60))
    before = private()
    for _ in range(2):
        for row in rows:
            coco.object_masks.code(row, (40, 60))
    growth.put(private() - before)


def test_coco_mini_as_its_readme_describes_it():
    root = real_data("coco-mini")
    expected = {"train": (52, 504, 6), "val": (36, 274, 5)}
    for split, (images, objects, crowds) in expected.items():
        coco = Coco(root, f"annotations/instances_{split}2017.json", f"{split}2017", masks=True)
        annotations = [coco.annotation(index) for index in range(len(coco))]
        assert len(coco) == images
        assert sum(map(len, annotations)) == objects
        assert sum(int(found.crowd.sum()) for found in annotations) == crowds
        assert len(coco.class_names) == 80
        assert coco.category_ids[-1] == 90
        for found in annotations:
            np.testing.assert_array_equal(found.area, [rle.area(code) for code in found.masks])
    train = Coco(root, "annotations/instances_train2017.json", "train2017")
    by_id = {sample.image_id: sample for sample in (train[index] for index in range(len(train)))}
    assert len(by_id[250].annotation) == 0
    gray = by_id[86].image
    assert (gray[..., 0] == gray[..., 2]).all()
