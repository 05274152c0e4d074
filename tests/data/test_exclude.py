import numpy as np
import pytest

import visionkit as vk
from visionkit.data.datasets.image_path import image_path

SPLITS = {split: {"split": split, "count": 8, "size": 64} for split in ("train", "val")}


def open_data(**exclude):
    options = {split: vk.ExcludeOptions(**given) for split, given in exclude.items()}
    return vk.VisionData("shapes", splits=SPLITS, num_workers=0, exclude=options)


def test_images_and_objects_are_left_out():
    whole = open_data().dataset("train")
    annotation = whole.annotation(2)
    assert len(annotation) > 1
    box = annotation.boxes[1].astype(float).round(2).tolist()
    data = open_data(train={"images": ["0", "5"], "boxes": {"2": [box]}})
    dataset = data.dataset("train")
    assert [dataset.image_id(index) for index in range(len(dataset))] == [1, 2, 3, 4, 6, 7]
    rest = np.delete(annotation.boxes, 1, axis=0)
    assert (dataset.annotation(1).boxes == rest).all()
    assert (dataset[1].annotation.boxes == rest).all()
    assert len(dataset[1].annotation.masks or rest) == len(rest)
    assert len(dataset.annotation(0)) == len(whole.annotation(1))
    assert dataset.report["images left out (data.exclude)"] == 2
    assert len(data.dataset("val")) == 8


def test_of_two_objects_at_one_place_one_stays(tmp_path):
    from visionkit.data.exclude import ExcludingDataset
    from visionkit.structures import Annotation

    class Twice(vk.TorchPairs):
        def annotation(self, index):
            boxes, no = np.float32([[0, 0, 9, 9], [0, 0, 9, 9]]), np.zeros(2, bool)
            return Annotation(boxes, np.array([0, 0]), no, no, np.float32([81, 81]))

    whole = Twice([(np.zeros((16, 16, 3), np.uint8), 0)], class_names=["a"])
    once = ExcludingDataset(whole, ["a"], vk.ExcludeOptions(boxes={"a": [[0, 0, 9, 9]]}), "train")
    assert len(once.annotation(0)) == 1
    with pytest.raises(vk.DataError, match="fewer than are left out"):
        ExcludingDataset(whole, ["a"], vk.ExcludeOptions(boxes={"a": [[0, 0, 9, 9]] * 3}), "train")


@pytest.mark.parametrize(
    ("exclude", "message"),
    [
        ({"images": ["nobody"]}, "nobody"),
        ({"boxes": {"nobody": [[0, 0, 1, 1]]}}, "nobody"),
        ({"boxes": {"1": [[500, 500, 600, 600]]}}, "no object at"),
    ],
)
def test_what_does_not_exist_is_refused(exclude, message):
    with pytest.raises(vk.DataError, match=message):
        open_data(train=exclude).dataset("train")


def test_unknown_splits_and_wrong_boxes_are_refused():
    with pytest.raises(vk.ConfigError, match=r"data\.exclude\.tarin"):
        open_data(tarin={"images": ["0"]})
    with pytest.raises(vk.ConfigError, match="four numbers"):
        vk.ExcludeOptions(boxes={"a": [[1, 2, 3]]})


def test_the_held_out_part_does_not_change():
    """What is left out is so after the split: otherwise, another part would be held out."""
    options = {"splits": {"train": SPLITS["train"] | {"count": 40}}, "holdout": vk.HoldoutOptions(), "num_workers": 0}
    whole = vk.VisionData("shapes", **options)
    first = str(whole.dataset("train").image_id(0))
    less = vk.VisionData("shapes", exclude={"train": vk.ExcludeOptions(images=[first])}, **options)

    def ids(data, split):
        return [data.dataset(split).image_id(index) for index in range(len(data.dataset(split)))]

    assert ids(less, "val") == ids(whole, "val")
    assert ids(less, "train") == ids(whole, "train")[1:]


def test_datasets_of_python_too():
    pairs = [(np.zeros((8, 8, 3), np.uint8), index % 2) for index in range(4)]
    exclude = {"train": vk.ExcludeOptions(images=["1"])}
    data = vk.VisionData.from_datasets(train=pairs, class_names=["a", "b"], exclude=exclude, num_workers=0)
    assert len(data.dataset("train")) == 3
    assert image_path(data.dataset("train"), 0) is None
