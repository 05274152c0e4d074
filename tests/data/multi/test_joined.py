import pickle

import numpy as np
import pytest
from PIL import Image

from tests.helpers.cards_of_one_folder import KINDS, number_of, three_cards, write_folder
from visionkit.data.datasets.base import VisionDataset
from visionkit.data.datasets.concatenated import ConcatenatedDataset
from visionkit.data.datasets.image_path import image_path
from visionkit.data.datasets.shapes import Shapes
from visionkit.data.datasets.subset import SubsetDataset
from visionkit.data.multi.joined import HeadSource, JoinedDataset
from visionkit.errors import DataError


def join(*sources, joinable=lambda card, other: True):
    return JoinedDataset([HeadSource(*source) for source in sources], joinable)


def shapes(count=4, **options):
    return Shapes(count=count, size=64, **options)


def of_folder(folder, **options):
    """The three cards of a folder, joined."""
    sources = [
        (head, card, KINDS[head], data.dataset("train"))
        for head, cards in three_cards(folder).items()
        for card, data in cards.items()
    ]
    return join(*sources, **options)


class Counting(SubsetDataset):
    """All images of a dataset, and how many were decoded."""

    decoded = 0

    def __init__(self, dataset):
        super().__init__(dataset, range(len(dataset)))

    def __getitem__(self, index):
        self.decoded += 1
        return super().__getitem__(index)


def test_heads_of_one_card_share_an_item_that_is_decoded_once():
    plain, with_masks = Counting(shapes()), Counting(shapes(semantic=True))
    joined = join(
        ("objects", "shapes", "boxes", plain),
        ("regions", "shapes", "semantic", with_masks),
        ("tags", "shapes", "tags", plain),
    )
    assert isinstance(joined, VisionDataset)
    assert len(joined) == 4
    sample = joined[2]
    assert (plain.decoded, with_masks.decoded) == (1, 0)
    assert (sample.heads, sample.card, sample.image_id) == (("objects", "regions", "tags"), "shapes", 2)
    np.testing.assert_array_equal(sample.image, plain[2].image)
    np.testing.assert_array_equal(sample.annotation.labels, plain.annotation(2).labels)
    np.testing.assert_array_equal(sample.semantic, with_masks.semantic(2))
    np.testing.assert_array_equal(sample.tags, plain.tags(2))
    assert sample.label is None, "no head has labels"


def test_classes_ids_and_reports_name_head_and_card():
    first, second, third = shapes(), shapes(semantic=True), shapes()
    first.report = third.report = {"boxes dropped": 2}
    joined = join(("a", "one", "boxes", first), ("b", "one", "semantic", second), ("a", "two", "boxes", third))
    assert joined.class_names == [*(f"a/{name}" for name in first.class_names), "b/background", "b/disc", "b/square",
                                  "b/triangle", "b/star", "b/ring", "b/cross"]  # fmt: skip
    assert joined.category_ids == first.category_ids + second.category_ids
    assert joined.report == {"one: boxes dropped": 2, "two: boxes dropped": 2}
    assert joined.class_colors is None


def test_unrelated_cards_are_items_of_their_own():
    joined = join(("objects", "a", "boxes", shapes(2)), ("regions", "b", "semantic", shapes(3, semantic=True)))
    assert [joined.heads(index) for index in range(5)] == [("objects",)] * 2 + [("regions",)] * 3
    assert joined.groups.tolist() == [0, 0, 1, 1, 1]
    assert joined.groups.dtype == np.int64
    assert joined.group_names == ["a", "b"]
    assert [joined.image_id(index) for index in range(5)] == ["a/0", "a/1", "b/0", "b/1", 2]
    assert [joined[index].image_id for index in (0, 4)] == ["a/0", 2]
    assert [joined[index].card for index in (0, 4)] == ["a", "b"]
    assert joined.indices_of("b").tolist() == [2, 3, 4]
    boxes, regions = joined[0], joined[2]
    assert boxes.semantic is None
    assert not joined.has_semantic(0)
    assert len(regions.annotation) == len(joined.annotation(2)) == 0
    assert regions.tags is joined.tags(2) is None
    assert joined.has_semantic(2)
    with pytest.raises(IndexError):
        joined[5]


def test_images_of_several_formats_are_recognized_by_their_files(tmp_path):
    write_folder(tmp_path, {"train": ["a", "b", "c"]})
    joined = of_folder(tmp_path)
    assert len(joined) == 3
    assert joined.group_names == ["coco+masks+csv"]
    for index, name in enumerate("abc"):
        sample = joined[index]
        assert number_of(sample) == index
        assert sample.image_id == joined.image_id(index) == 10 * index
        assert image_path(joined, index) == tmp_path / "images" / f"{name}.png"
        assert sample.annotation.boxes[0].tolist() == [1 + index, 2, 11 + index, 12]
        assert (sample.semantic == index % 2).all()
        assert sample.tags.tolist() == [index % 2]
        assert joined.image_size(index) == (20, 30)


def test_a_link_to_an_image_is_the_same_image(tmp_path):
    write_folder(tmp_path, {"train": ["a", "b"]})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "images").symlink_to(tmp_path / "images")
    (tmp_path / "images" / "c.png").symlink_to(tmp_path / "images" / "a.png")
    (tmp_path / "other" / "train.csv").write_text("path,label\nc.png,even\nb.png,odd\n")
    here, there = three_cards(tmp_path), three_cards(tmp_path / "other")
    joined = join(
        ("objects", "coco", "boxes", here["objects"]["coco"].dataset("train")),
        ("tags", "csv", "tags", there["tags"]["csv"].dataset("train")),
    )
    assert [joined.heads(index) for index in range(len(joined))] == [("objects", "tags")] * 2


def test_images_with_labels_of_some_heads_are_in_groups_by_card(tmp_path):
    write_folder(tmp_path, {"train": ["a", "b", "c", "d"]})
    (tmp_path / "train.csv").write_text("path,label\nd.png,odd\nb.png,odd\n")
    joined = of_folder(tmp_path)
    assert [joined.heads(index) for index in range(4)] == [
        ("objects", "regions"), ("objects", "regions", "tags"), ("objects", "regions"), ("objects", "regions", "tags"),
    ]  # fmt: skip
    assert joined.groups.tolist() == [0, 1, 0, 1]
    assert joined.group_names == ["coco+masks", "coco+masks+csv"]
    assert joined[3].tags.tolist() == [1]
    assert joined[0].tags is None


def test_cards_with_different_augmentation_are_not_joined(tmp_path):
    write_folder(tmp_path, {"train": ["a", "b"]})
    joined = of_folder(tmp_path, joinable=lambda card, other: card != "masks" != other)
    assert [joined.heads(index) for index in range(4)] == [("objects", "tags"), ("regions",)] * 2
    assert [joined[index].card for index in range(4)] == ["coco", "masks"] * 2
    assert [number_of(joined[index]) for index in range(4)] == [0, 0, 1, 1]


def test_two_heads_with_one_kind_share_an_annotation_only_of_one_card_with_equal_classes(tmp_path):
    write_folder(tmp_path, {"train": ["a"]})
    boxes = three_cards(tmp_path)["objects"]["coco"].dataset("train")
    same = join(("one", "coco", "boxes", boxes), ("two", "coco", "boxes", boxes))
    assert [same.heads(index) for index in range(len(same))] == [("one", "two")]
    other_card = join(("one", "coco", "boxes", boxes), ("two", "more", "boxes", boxes))
    assert [other_card.heads(index) for index in range(len(other_card))] == [("one",), ("two",)]
    assert [other_card.image_id(index) for index in range(2)] == ["coco/0", "more/0"]
    other_classes = SubsetDataset(boxes, [0])
    other_classes.class_names = ["else"]
    different = join(("one", "coco", "boxes", boxes), ("two", "coco", "boxes", other_classes))
    assert [different.heads(index) for index in range(len(different))] == [("one",), ("two",)]
    assert [different.image_id(index) for index in range(2)] == ["coco/one/0", "coco/two/0"]


def test_a_label_and_tags_can_share_an_item():
    dataset = shapes(empty_share=0.0)
    joined = join(("kind", "shapes", "label", dataset), ("tags", "shapes", "tags", dataset))
    assert len(joined) == 4
    assert joined[0].label == joined.label(0) == dataset.label(0)
    np.testing.assert_array_equal(joined[0].tags, dataset.tags(0))


def test_the_masks_of_objects_are_there_if_one_head_needs_them():
    class WithoutMasks(SubsetDataset):
        def annotation(self, index):
            found = super().annotation(index)
            found.masks = None
            return found

    plain, masks = WithoutMasks(shapes(), range(4)), shapes()
    joined = join(("boxes", "shapes", "boxes", plain), ("outlines", "shapes", "boxes", masks))
    assert joined.heads(0) == ("boxes", "outlines")
    assert joined.annotation(0).masks == joined[0].annotation.masks == masks.annotation(0).masks


def test_ids_that_differ_only_in_their_type_get_the_name_of_the_card():
    class Named(SubsetDataset):
        def image_id(self, index):
            return str(super().image_id(index))

    joined = join(("a", "one", "boxes", shapes(1)), ("b", "two", "tags", Named(shapes(2), [0, 1])))
    assert [joined.image_id(index) for index in range(3)] == ["one/0", "two/0", "1"]


def test_an_image_without_file_whose_id_is_not_unique_is_not_joined():
    both = ConcatenatedDataset([shapes(2), shapes(1, split="more")])
    only_more = SubsetDataset(both, [1, 2])
    joined = join(("objects", "shapes", "boxes", both), ("tags", "shapes", "tags", only_more))
    heads = [joined.heads(index) for index in range(len(joined))]
    assert heads == [("objects",), ("objects", "tags"), ("objects",), ("tags",)]
    np.testing.assert_array_equal(joined[3].tags, both.tags(2))


def test_a_file_that_a_source_has_twice_is_joined_twice(tmp_path):
    write_folder(tmp_path, {"train": ["a", "b"]})
    cards = three_cards(tmp_path)
    boxes = SubsetDataset(cards["objects"]["coco"].dataset("train"), [0, 1, 0])
    joined = join(("objects", "coco", "boxes", boxes), ("tags", "csv", "tags", cards["tags"]["csv"].dataset("train")))
    assert [joined.heads(index) for index in range(3)] == [("objects", "tags"), ("objects", "tags"), ("objects",)]
    assert [number_of(joined[index]) for index in range(3)] == [0, 1, 0]


def test_a_source_without_images_gives_classes_only():
    joined = join(("a", "one", "boxes", shapes(2)), ("b", "two", "tags", SubsetDataset(shapes(), [])))
    assert len(joined) == 2
    assert joined.group_names == ["one"]
    assert len(joined.class_names) == 12
    none = join(("a", "one", "boxes", SubsetDataset(shapes(), [])))
    assert (len(none), none.group_names, none.groups.tolist()) == (0, [], [])


def test_annotations_of_another_size_are_refused(tmp_path):
    write_folder(tmp_path, {"train": ["a"]})
    cards = three_cards(tmp_path)
    tags = ("tags", "csv", "tags", cards["tags"]["csv"].dataset("train"))
    masks = ("regions", "masks", "semantic", cards["regions"]["masks"].dataset("train"))
    Image.new("L", (30, 21)).save(tmp_path / "masks" / "a.png")
    with pytest.raises(DataError, match=r"a.png \(card csv\) has 20 x 30 pixels .* but its mask has 21 x 30"):
        join(tags, masks)[0]
    stated = (tmp_path / "train.json").read_text().replace('"width": 30', '"width": 31')
    (tmp_path / "train.json").write_text(stated)
    boxes = ("objects", "coco", "boxes", cards["objects"]["coco"].dataset("train"))
    with pytest.raises(DataError, match="but its annotation in the card coco has 20 x 31"):
        join(tags, boxes)[0]


def test_it_can_be_sent_to_another_process():
    joined = join(("objects", "a", "boxes", shapes()), ("tags", "a", "tags", shapes()))
    copy = pickle.loads(pickle.dumps(joined))
    np.testing.assert_array_equal(copy[1].image, joined[1].image)
    np.testing.assert_array_equal(copy[1].tags, joined[1].tags)
    assert copy[1].heads == ("objects", "tags")


def test_many_images_are_joined_in_time_without_being_decoded():
    class Undecoded(SubsetDataset):
        def __getitem__(self, index):
            raise AssertionError("an image was decoded")

        def label(self, index):
            raise AssertionError("a label was read")

    many = Undecoded(shapes(20_000), range(20_000))
    joined = join(("a", "one", "label", many), ("b", "one", "tags", many), ("c", "two", "label", many))
    assert len(joined) == 40_000
