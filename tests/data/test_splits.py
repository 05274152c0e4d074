import numpy as np
import pytest

from visionkit.data import card_splits
from visionkit.data.card_splits import CardSplits
from visionkit.data.dataset_splits import DatasetSplits
from visionkit.data.datasets.base import FormatRegistry
from visionkit.data.datasets.concatenated import ConcatenatedDataset
from visionkit.data.datasets.shapes import Shapes
from visionkit.data.datasets.subset import SubsetDataset
from visionkit.data.holdout import HoldoutOptions
from visionkit.data.splits import read_labels
from visionkit.data.stats.pixel_counts import count_pixels
from visionkit.errors import ConfigError, DataError

HALF_EMPTY = {"split": "train", "count": 20, "size": 48, "empty_share": 0.5}


def splits(options=None, **further):
    return CardSplits("shapes", None, options or {"train": HALF_EMPTY}, **further)


def test_images_without_what_the_task_needs_are_left_out_and_counted(caplog):
    whole, useful = splits().dataset("train"), splits(required="label").dataset("train")
    labels = read_labels(whole)
    assert (labels == -1).sum() == len(whole) - len(useful) > 0
    assert read_labels(useful).tolist() == labels[labels >= 0].tolist()
    assert f"{(labels == -1).sum()} images without a single class skipped" in caplog.text
    assert len(splits(required="tags").dataset("train")) == len(whole), "an empty list of classes is one, too"


def test_a_card_for_another_task_is_refused():
    empty = {"train": {**HALF_EMPTY, "empty_share": 1.0}}
    with pytest.raises(DataError, match="no image of train has a single class"):
        splits(empty, required="label").dataset("train")


def test_options_that_a_format_needs_to_read_an_annotation_come_with_its_registration(monkeypatch):
    registry = FormatRegistry("data format")
    registry.register("plain")(Shapes)
    registry.register("drawn", "drawn too", options_for={"semantic": {"semantic": True}})(Shapes)
    monkeypatch.setattr(card_splits, "formats", registry)

    def opened(name, required):
        return CardSplits(name, None, {"train": HALF_EMPTY}, required=required).dataset("train")

    for name in ("drawn", "drawn too"):
        assert opened(name, "semantic").has_semantic(0)
        assert not opened(name, "tags").has_semantic(0)
        assert not opened(name, None).has_semantic(0)
    with pytest.raises(DataError, match="no image of train has a semantic mask"):
        opened("plain", "semantic")
    with pytest.raises(ConfigError, match="unknown data format 'drwn'; did you mean drawn"):
        opened("drwn", None)


def test_a_split_is_read_once():
    given = splits()
    assert given.dataset("train") is given.dataset("train")


def test_counts_are_those_of_labels_or_of_all_tags():
    given = splits(required="label")
    reader = given.dataset("train")
    expected = np.bincount([reader.label(index) for index in range(len(reader))], minlength=6)
    assert given.class_counts("train").tolist() == expected.tolist()

    class WithTagsAlone(SubsetDataset):
        def label(self, index):
            return None

    given._opened["train"] = WithTagsAlone(reader, range(len(reader)))
    expected = np.bincount(np.concatenate([reader.tags(index) for index in range(len(reader))]), minlength=6)
    assert given.class_counts("train").tolist() == expected.tolist()


def test_pixels_are_counted_by_class_and_by_image():
    given = splits({"train": {**HALF_EMPTY, "semantic": True}}, required="semantic")
    reader = given.dataset("train")
    masks = [reader[index].semantic for index in range(len(reader))]
    counts, out_of = given.pixel_counts("train")
    assert counts.tolist() == [sum(int((mask == number).sum()) for mask in masks) for number in range(7)]
    assert out_of.tolist() == [sum(mask.size for mask in masks if (mask == number).any()) for number in range(7)]
    assert counts.dtype == out_of.dtype == np.int64


def test_void_counts_nowhere_and_unknown_values_are_named():
    class OneMask(SubsetDataset):
        mask = np.array([[0, 0, 255, 2]], np.uint8)

        def semantic(self, index):
            return self.mask

    one = OneMask(Shapes(count=1, size=48, semantic=True), [0])
    counts, out_of = count_pixels(one)
    assert counts.tolist() == [2, 0, 1, 0, 0, 0, 0]
    assert out_of.tolist() == [3, 0, 3, 0, 0, 0, 0]
    one.mask = np.array([[0, 7, 255, 2]], np.uint8)
    with pytest.raises(DataError, match="values 0, 2, 7, 255; the 7 classes are 0 to 6"):
        count_pixels(one)


def test_data_without_masks_of_classes_are_refused_where_they_are_needed():
    data = DatasetSplits({"train": Shapes(count=3, size=64)}, required="semantic")
    with pytest.raises(DataError, match="no image of train has a semantic mask"):
        data.dataset("train")


def test_a_format_that_can_have_masks_of_classes_has_them_where_they_are_needed():
    assert splits(required="semantic").dataset("train").class_names[0] == "background"


def test_a_list_of_options_is_read_as_one_set():
    part = {**HALF_EMPTY, "empty_share": 0.0, "semantic": True}
    joined = splits({"train": [part, {**part, "split": "more", "count": 5}]}, required="label").dataset("train")
    assert isinstance(joined, ConcatenatedDataset)
    assert len(joined) == 25
    for index in (0, 19, 20, 24):
        assert joined[index].label == joined.label(index)
        assert joined[index].image_id == joined.image_id(index) == index % 20
        np.testing.assert_array_equal(joined[index].tags, joined.tags(index))
        assert joined.image_size(index) == (48, 48)
        assert joined.has_semantic(index)
        np.testing.assert_array_equal(joined[index].semantic, joined.semantic(index))
    with pytest.raises(IndexError):
        joined[25]


def test_images_that_share_an_id_train_and_are_not_scored():
    parts = [{**HALF_EMPTY, "count": 20}, {**HALF_EMPTY, "split": "more", "count": 3}]
    assert len(splits({"train": parts}).dataset("train")) == 23
    for split in ("val", "test"):
        with pytest.raises(
            DataError, match=rf"{split}: 3 image ids occur more than once: 0, 1, 2\n.*data\.splits\.{split}"
        ):
            splits({split: parts}).dataset(split)
    held_out = splits({"train": [parts[0], parts[0]]}, holdout=HoldoutOptions(fraction=0.9))
    with pytest.raises(DataError, match=r"val: .* image ids"):
        held_out.dataset("val")


def test_validation_images_are_held_out_of_training_where_there_are_none():
    given = splits(holdout=HoldoutOptions(fraction=0.25), required="label")
    train, val = given.dataset("train"), given.dataset("val")
    names = {reader[index].file_name for reader in (train, val) for index in range(len(reader))}
    assert len(names) == len(train) + len(val) == (read_labels(splits().dataset("train")) >= 0).sum()
    assert list(given) == ["train", "val"]
    given.check_evaluated("val")
    with pytest.raises(ConfigError, match=r"the data has no test split\nscore val \(visionkit validate"):
        given.check_evaluated("test")
    with pytest.raises(ConfigError, match=r"data.holdout: the data has a val split already"):
        splits({"train": HALF_EMPTY, "val": {**HALF_EMPTY, "split": "val"}}, holdout=HoldoutOptions())


def test_splits_that_are_not_there_are_named():
    with pytest.raises(ConfigError, match="no split 'tran'; did you mean train"):
        splits().dataset("tran")
    given = splits({"train": HALF_EMPTY, "test": HALF_EMPTY})
    given.check_evaluated("test")
    given.check_trained()
    with pytest.raises(ConfigError, match="no train split, only val and test"):
        splits({"val": HALF_EMPTY, "test": HALF_EMPTY}).check_trained()
