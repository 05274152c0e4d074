import logging

import numpy as np
import pytest

from tests.helpers.cards_of_one_folder import KINDS, three_cards, write_folder
from visionkit.data.card_splits import CardSplits
from visionkit.data.dataset_splits import DatasetSplits
from visionkit.data.datasets.shapes import Shapes
from visionkit.data.datasets.subset import SubsetDataset
from visionkit.data.exclude import ExcludeOptions
from visionkit.data.holdout import HoldoutOptions
from visionkit.data.multi.multi_splits import MultiSplits
from visionkit.errors import ConfigError, DataError


def shapes(*splits, count=6, **options):
    parts = {split: {"split": split, "count": count, "size": 64} for split in splits}
    return CardSplits("shapes", None, parts, **options)


def multi(sources, kinds=None, joinable=lambda card, other: True):
    return MultiSplits(sources, kinds or dict.fromkeys(sources, "boxes"), joinable)


def of_folder(folder, splits):
    sources = {
        head: {card: data.splits for card, data in cards.items()} for head, cards in three_cards(folder, splits).items()
    }
    return multi(sources, KINDS)


def test_the_splits_are_those_of_all_cards_in_the_usual_order():
    both = multi({"a": {"one": shapes("test", "train")}, "b": {"two": shapes("val", "train")}})
    assert both.names == [*both] == ["train", "val", "test"]
    assert [len(both.dataset(split)) for split in both] == [12, 6, 6]
    assert both.dataset("val").heads(0) == ("b",)
    assert both.dataset("val") is both.dataset("val")
    assert len({tuple(both.dataset(split).class_names) for split in both}) == 1, "also of heads without images"
    with pytest.raises(ConfigError, match="no card has a split 'tran'; did you mean train"):
        both.dataset("tran")


def test_settings_of_a_card_apply_to_its_images_alone():
    held_out = shapes("train", count=10, holdout=HoldoutOptions(fraction=0.3), required="label")
    excluding = shapes("train", count=10, excluded={"train": ExcludeOptions(images=["0", "1"])})
    both = multi({"a": {"one": held_out}, "b": {"two": excluding}}, {"a": "label", "b": "boxes"})
    assert both.names == ["train", "val"]
    sizes = len(held_out.dataset("train")), len(held_out.dataset("val"))
    assert len(both.dataset("train")) == sizes[0] + 8
    assert len(both.dataset("val")) == sizes[1] > 0


def test_a_head_has_the_images_of_all_its_cards():
    cards = {"one": shapes("train", "val"), "two": shapes("train", "val", "test", count=4)}
    data = multi({"a": cards, "b": {"two": cards["two"]}})
    head = data.of_head("a")
    assert data.of_head("b") is cards["two"]
    assert (head.names, head.class_names) == (["train", "val", "test"], cards["one"].class_names)
    assert [len(head.dataset(split)) for split in head] == [10, 10, 4]
    val = head.dataset("val")
    assert [val.image_id(index) for index in (0, 5, 6)] == ["one/0", 5, "two/0"]
    assert val[6].image_id == "two/0"
    counts = [cards[card].class_counts("train") for card in cards]
    assert head.class_counts("train").tolist() == sum(counts).tolist()
    assert data.class_counts("train").tolist() == [*sum(counts), *counts[1]]
    with pytest.raises(ConfigError, match="head a: no card has a split 'tets'; did you mean test"):
        head.dataset("tets")


def test_counts_are_zero_for_heads_without_the_split(tmp_path):
    write_folder(tmp_path, {"train": ["a", "b", "c"]})
    (tmp_path / "more").mkdir()
    write_folder(tmp_path / "more", {"train": ["a"], "val": ["b"]})
    masks = three_cards(tmp_path)["regions"]["masks"].splits
    more = three_cards(tmp_path / "more", ("train", "val"))["regions"]["masks"].splits
    data = multi({"a": {"one": masks}, "b": {"two": more}}, {"a": "semantic", "b": "semantic"})
    assert data.pixel_counts("train").counts.tolist() == [1200, 600, 600, 0]
    assert data.pixel_counts("train").out_of.tolist() == [1200, 600, 600, 0]
    assert data.pixel_counts("val").counts.tolist() == [0, 0, 0, 600]
    assert data.class_counts("val").tolist() == [0, 0, 0, 0]


def leaks(caplog):
    return [record.getMessage() for record in caplog.records if "train split of another card" in record.getMessage()]


def test_images_that_another_card_trains_on_are_counted_in_one_warning(tmp_path, caplog):
    write_folder(tmp_path, {"train": ["a", "b", "c"], "val": ["d", "e"], "test": ["f"]})
    (tmp_path / "val.csv").write_text("path,label\nb.png,odd\na.png,even\nd.png,even\n")
    (tmp_path / "test.csv").write_text("path,label\nc.png,odd\n")
    data = of_folder(tmp_path, ("train", "val", "test"))
    for split in ("val", "test"):
        data.dataset(split)
    assert not leaks(caplog), "without a training split, nothing leaks"
    data.dataset("train")
    data.dataset("train")
    (warning,) = leaks(caplog)
    assert warning.startswith("2 images of val and 1 images of test are in the train split of another card")
    assert str(tmp_path / "images" / "a.png") in warning


def test_a_split_that_is_opened_after_train_is_checked(tmp_path, caplog):
    write_folder(tmp_path, {"train": ["a", "b"], "val": ["c"]})
    (tmp_path / "val.csv").write_text("path,label\na.png,even\n")
    data = of_folder(tmp_path, ("train", "val"))
    data.dataset("train")
    assert not leaks(caplog)
    data.dataset("val")
    assert [message.split(" are in ")[0] for message in leaks(caplog)] == ["1 images of val"]


def test_equal_splits_of_all_cards_do_not_leak(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    write_folder(tmp_path, {"train": ["a", "b"], "val": ["c"]})
    data = of_folder(tmp_path, ("train", "val"))
    assert [len(data.dataset(split)) for split in data] == [2, 1]
    assert not leaks(caplog)
    same_ids = multi({"a": {"one": shapes("train", "val")}, "b": {"two": shapes("train", "val")}})
    assert [len(same_ids.dataset(split)) for split in same_ids] == [12, 12]
    assert not leaks(caplog), "images without a file have nothing to compare"


def with_classes(names):
    dataset = SubsetDataset(Shapes(count=2, size=64), [0, 1])
    dataset.class_names = names
    return DatasetSplits({"train": dataset})


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["disc", "star", "square"], "class 1 is 'square' in one and 'star' in two"),
        (["disc", "square"], "class 2 is 'star' in one and missing in two"),
        (["disc", "square", "star", "ring"], "class 3 is missing in one and 'ring' in two"),
    ],
)
def test_cards_of_a_head_need_the_same_classes(names, message):
    cards = {"one": with_classes(["disc", "square", "star"]), "two": with_classes(names)}
    data = multi({"objects": cards})
    for opened in (data, data.of_head("objects")):
        with pytest.raises(DataError, match=f"head objects: the cards one and two have different classes: {message}"):
            opened.dataset("train")
    both = multi({"a": {"one": cards["one"]}, "b": {"two": cards["two"]}})
    assert len(both.dataset("train")) == 4, "different heads may have different classes"


def test_cards_need_the_same_bit_depth():
    one, two = shapes("train", bit_depth=12), shapes("train")
    with pytest.raises(ConfigError, match="the cards one and two have different bit depths: 12 and None"):
        multi({"a": {"one": one}, "b": {"two": two}})
    assert multi({"a": {"one": one}}).bit_depth == 12


def test_each_head_needs_images_to_train_on():
    data = multi({"a": {"one": shapes("train")}, "b": {"two": shapes("val"), "three": shapes("test")}})
    with pytest.raises(ConfigError, match="head b has nothing to train on: no train split in two, three"):
        data.check_trained()
    multi({"a": {"one": shapes("train"), "two": shapes("val")}}).check_trained()


def test_ids_of_evaluated_items_are_unique_although_those_of_the_cards_are_not():
    data = multi({"a": {"one": shapes("val")}, "b": {"two": shapes("val", count=8)}})
    val = data.dataset("val")
    assert len({str(val.image_id(index)) for index in range(len(val))}) == 14
    assert data.category_ids == [*range(1, 7)] * 2
    assert np.bincount(val.groups).tolist() == [6, 8]


def test_errors_of_a_card_name_it():
    nothing = {"train": {"count": 3, "size": 64, "empty_share": 1.0}}
    empty = CardSplits("shapes", None, nothing, required="label")
    with pytest.raises(DataError, match="card two: no image of train has a single class"):
        multi({"a": {"one": shapes("train"), "two": empty}}).dataset("train")
    with pytest.raises(ConfigError, match="card one: the data card has no split 'train'"):
        multi({"a": {"one": shapes(), "two": shapes("train")}}).dataset("train")
