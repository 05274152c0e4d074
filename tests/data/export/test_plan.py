"""Names and ids of written images."""

from tests.helpers.export_source import write_source
from visionkit.data.datasets.concatenated import ConcatenatedDataset
from visionkit.data.datasets.shapes import Shapes
from visionkit.data.export.plan import NameGiver, plan_split


def test_names_differ_without_their_suffixes(tmp_path):
    plan = plan_split("train", write_source(tmp_path)["train"], NameGiver())
    assert plan.names == ["a b.png", "a b-2.jpg", "c.png"]
    assert plan.numbers == [70, 9, 12]


def test_spaces_become_underscores_where_they_must():
    names = NameGiver(spaces=False)
    assert [names.give("a b.jpg"), names.give("a_b.jpg"), names.give("A_B-2.jpg")] == [
        "a_b.jpg",
        "a_b-2.jpg",
        "A_B-2-2.jpg",
    ]


def test_characters_that_no_file_of_annotations_can_hold_become_underscores():
    assert NameGiver().give("a\x07\udce9 é.jpg") == "a__ é.jpg"


def test_ids_that_repeat_are_numbered(tmp_path):
    part = write_source(tmp_path)["train"]
    assert plan_split("train", ConcatenatedDataset([part, part]), NameGiver()).numbers == [1, 2, 3, 4, 5, 6]


def test_images_without_files_are_named_by_their_ids():
    assert plan_split("val", Shapes(count=2, size=64), NameGiver()).names == ["0.png", "1.png"]
