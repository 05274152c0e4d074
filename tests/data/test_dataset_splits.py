import pytest
import torch

import visionkit as vk
from visionkit.data.datasets.shapes import Shapes
from visionkit.errors import ConfigError, DataError


def pairs(labels, ids=None):
    target = [
        {"label": label, **({} if ids is None else {"image_id": ids[index]})} for index, label in enumerate(labels)
    ]
    return [(torch.zeros(3, 16, 16), value) for value in target]


def test_splits_are_those_given():
    data = vk.VisionData.from_datasets(train=pairs([0, 1]), test=pairs([1]), class_names=["cat", "dog"])
    assert [*data.splits] == ["train", "test"]
    data.splits.check_evaluated("test")
    assert (data.class_names, data.category_ids, data.class_colors) == (["cat", "dog"], [0, 1], None)
    assert data.class_counts("train").tolist() == [1, 1]
    with pytest.raises(ConfigError, match=r"there is no val dataset: pass it to VisionData.from_datasets"):
        data.val_dataloader()


def test_images_without_what_the_task_needs_are_skipped():
    train = [*pairs([0, 1, 1]), (torch.zeros(3, 16, 16), {"tags": [0, 1]})]
    data = vk.VisionData.from_datasets(train=train, class_names=["cat", "dog"], required="label")
    assert len(data.dataset("train")) == 3


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ConfigError, "needs at least one of train, val and test"),
        ({"train": Shapes(), "val": Shapes(semantic=True)}, DataError, "train and val have different classes"),
        ({"val": pairs([0, 1], ids=[5, 5]), "class_names": ["cat", "dog"]}, DataError, "5"),
        ({"train": Shapes(), "val": Shapes(), "holdout": vk.HoldoutOptions()}, ConfigError, "has a val split already"),
        ({"train": Shapes(), "batch_size": 0}, ConfigError, "batch_size"),
        ({"train": Shapes(), "classes": ["cat"]}, ConfigError, "from_datasets has no option classes"),
    ],
)
def test_what_does_not_go_together_is_refused(options, error, message):
    with pytest.raises(error, match=message):  # noqa: PT012
        data = vk.VisionData.from_datasets(**options)
        [data.dataset(split) for split in data.splits]
