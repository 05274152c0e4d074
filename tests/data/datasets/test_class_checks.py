import pytest
from PIL import Image

from visionkit.data.datamodule import VisionData
from visionkit.data.datasets.class_checks import check_class_names, check_same_classes
from visionkit.errors import DataError

CASES = {
    "more in val": (
        {"val": ["a", "b", "z"], "train": ["a", "b"]},
        "train and val have different classes: only val has z",
    ),
    "less in val": ({"train": ["a", "b"], "val": ["a"]}, "only train has b"),
    "both": ({"train": ["a", "b"], "val": ["a", "c"]}, "only val has c; only train has b"),
    "another order": ({"train": ["a", "b"], "val": ["b", "a"]}, "the same names in another order"),
    "many": ({"train": ["a"], "val": ["a", *map(str, range(99))]}, "0, 1, 2, 3, 4, 5, 6, 7 and 91 more"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_differs_is_named(case):
    named, message = CASES[case]
    with pytest.raises(DataError, match=message) as caught:
        check_same_classes(named)
    assert len(str(caught.value).splitlines()) <= 5
    assert r"data.classes" in str(caught.value)


def test_equal_classes_pass():
    check_same_classes({"train": ["a", "b"], "val": ("a", "b")})


def test_a_class_that_training_lacks_is_named_and_the_advice_helps(tmp_path):
    for name in ("train/cat", "train/dog", "val/cat", "val/dog", "val/zebra"):
        (tmp_path / name).mkdir(parents=True)
        Image.new("RGB", (6, 4)).save(tmp_path / name / "a.png")
    card = {"format": "folder", "root": str(tmp_path), "splits": {name: {"path": name} for name in ("train", "val")}}
    data = VisionData(**card)
    data.dataset("train")
    with pytest.raises(DataError, match="only val has zebra"):
        data.dataset("val")
    listed = VisionData(**card, classes=["cat", "dog"])
    assert [len(listed.dataset(name)) for name in ("train", "val")] == [2, 2]
    assert listed.dataset("val").report == {"folders of other classes skipped": 1}


def test_a_class_that_validation_lacks_may_be_listed(tmp_path):
    for name in ("train/cat", "train/dog", "train/cow", "val/cat", "val/dog"):
        (tmp_path / name).mkdir(parents=True)
        Image.new("RGB", (6, 4)).save(tmp_path / name / "a.png")
    splits = {name: {"path": name} for name in ("train", "val")}
    data = VisionData("folder", str(tmp_path), splits, classes=["cat", "cow", "dog"])
    assert data.dataset("train").class_names == data.dataset("val").class_names
    assert data.dataset("val").labels.tolist() == [0, 2]


@pytest.mark.parametrize("name", ["", "  ", "\udcff", "a\nb", "a\x1b[2J", 5, None])
def test_names_that_cannot_be_written_are_refused(name):
    check_class_names(["cat", "[/red]", "写真"])
    with pytest.raises(DataError, match="cannot be the name of a class"):
        check_class_names(["cat", name])


def test_repeated_names_are_refused():
    """One of the labels would get the objects of both."""
    with pytest.raises(DataError, match="2 names of classes occur more than once: cat, dog"):
        check_class_names(["cat", "dog", "cat", "dog", "dog", "cow"])
