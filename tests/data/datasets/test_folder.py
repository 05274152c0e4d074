import gc
import logging
import pickle

import numpy as np
import pytest
from PIL import Image

from visionkit.data.datamodule import VisionData
from visionkit.data.datasets.folder import FolderDataset
from visionkit.data.stats.check import check
from visionkit.errors import DataError

CAT, DOG = (200, 10, 10), (10, 10, 200)


@pytest.fixture
def root(tmp_path):
    """Two cats, one of them deeper, and a dog."""
    for name, color in (("cat/b.png", CAT), ("cat/more/a.PNG", CAT), ("dog/a.png", DOG)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 8), color).save(tmp_path / name)
    return tmp_path


def test_each_image_has_the_class_of_its_folder(root):
    folder = FolderDataset(root)
    assert folder.class_names == ["cat", "dog"]
    assert [folder.name(index) for index in range(3)] == ["cat/b.png", "cat/more/a.PNG", "dog/a.png"]
    assert [folder.label(index) for index in range(3)] == [0, 0, 1]
    sample = folder[2]
    assert (sample.label, sample.image_id, sample.file_name) == (1, "dog/a.png", "dog/a.png")
    assert (sample.tags.tolist(), sample.tags.dtype) == ([1], "int64")
    assert (sample.image == DOG).all()
    assert (sample.size, folder.image_size(2)) == ((8, 12), (8, 12))
    assert len(sample.annotation) == len(folder.annotation(2)) == 0
    assert folder.category_ids == [1, 2]
    assert not folder.report


def test_one_class_is_a_list_of_one_where_several_may_hold(root):
    data = VisionData("folder", str(root), {"train": {}}, batch_size=3, num_workers=0, required="tags")
    (batch,) = data.train_dataloader()
    assert sorted(target["tags"].tolist() for target in batch.targets) == [[0], [0], [1]]


def test_a_split_is_a_folder_below_the_root(root):
    (root / "train").mkdir()
    for name in ("cat", "dog"):
        (root / name).rename(root / "train" / name)
    assert len(FolderDataset(root, "train")) == 3
    with pytest.raises(DataError, match=r"does not exist"):
        FolderDataset(root, "val")


def test_listed_classes_have_their_order_and_others_are_left_out_and_counted(root):
    Image.new("RGB", (4, 4)).save(_made(root / "cow") / "a.png")
    folder = FolderDataset(root, classes=["dog", "cat"])
    assert (folder.class_names, folder.labels.tolist()) == (["dog", "cat"], [0, 1, 1])
    assert folder.report == {"folders of other classes skipped": 1}


def test_a_listed_class_may_be_empty_and_is_counted(root):
    _made(root / "cow")
    assert FolderDataset(root, classes=["cat", "cow", "dog"]).report == {"classes without images": 1}
    (root / "cow").rmdir()
    assert FolderDataset(root, classes=["cat", "cow", "dog"]).labels.tolist() == [0, 0, 2]


def test_what_is_no_image_is_left_out_and_counted(root):
    Image.new("RGB", (4, 4)).save(_made(root / ".ipynb_checkpoints") / "a.png")
    for name in ("cat/notes.txt", "cat/Thumbs.db", "cat/README", "dog/._a.png", "list.csv"):
        (root / name).write_text("no image")
    (root / "dog" / "round").symlink_to(root, target_is_directory=True)
    folder = FolderDataset(root)
    assert len(folder) == 3
    assert folder.report == {
        "hidden files and folders skipped": 2,
        "files outside the class folders skipped": 1,
        "files that are not images skipped (.txt)": 1,
        "files that are not images skipped (.db)": 1,
        "files that are not images skipped (no extension)": 1,
        "links to folders skipped": 1,
    }


def test_a_class_folder_may_be_a_link(root, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("cows")
    Image.new("RGB", (4, 4)).save(elsewhere / "a.png")
    (root / "cow").symlink_to(elsewhere, target_is_directory=True)
    assert FolderDataset(root).class_names == ["cat", "cow", "dog"]


def no_folders(root):
    for name in ("cat", "dog"):
        (root / name).rename(_made(root / ".hidden") / name)


def splits_for_classes(root):
    (root / "cat").rename(root / "Train")
    (root / "dog").rename(root / "val")


BAD = {
    "empty class": (lambda root: _made(root / "cow"), None, "no images of cow; the searched file types are .*jpg"),
    "class of texts": (lambda root: (_made(root / "cow") / "a.txt").touch(), None, "no images of cow"),
    "one class": (lambda root: (root / "dog").rename(root / ".dog"), None, r"has 1 class \(cat\)"),
    "one listed class": (lambda root: None, ["cat"], r"has 1 class \(cat\)"),
    "no folders": (no_folders, None, "has no folders; the expected layout is"),
    "splits": (splits_for_classes, None, "which are splits.*(?s:.)*path: train"),
    "misspelt": (lambda root: None, ["cat", "dogs"], "no folder for dogs of data.classes, but others: dog"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_folders_are_refused_with_the_reason(root, case):
    spoil, classes, message = BAD[case]
    spoil(root)
    with pytest.raises(DataError, match=message) as caught:
        FolderDataset(root, classes=classes)
    assert len(str(caught.value).splitlines()) <= 5


def test_a_missing_root_is_named(tmp_path):
    with pytest.raises(DataError, match="gone does not exist"):
        FolderDataset(tmp_path / "gone")
    with pytest.raises(DataError, match=r"needs data\.root"):
        FolderDataset(None)


@pytest.fixture
def broken(root):
    """The same dataset with a truncated JPEG, an empty file, and a text file named as an image."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(root / "cat" / "cut.jpg")
    (root / "cat" / "cut.jpg").write_bytes((root / "cat" / "cut.jpg").read_bytes()[:900])
    (root / "dog" / "empty.png").touch()
    (root / "dog" / "text.jpeg").write_text("no image")
    return root


def test_a_bad_file_raises_by_name_when_it_is_asked_for_and_the_check_lists_all(broken):
    folder = FolderDataset(broken)
    with pytest.raises(DataError, match=r"cut\.jpg cannot be read"):
        folder[1]
    problems = check(folder).problems
    assert [any(word in problem for problem in problems) for word in ("cut.jpg", "file is empty", "text.jpeg")] == [
        True
    ] * 3
    assert len(problems) == 3


def test_bad_files_are_skipped_by_policy_counted_and_named(broken, caplog):
    with caplog.at_level(logging.WARNING):
        folder = FolderDataset(broken, on_bad_file="skip")
    assert folder.report == {"unreadable images skipped": 3}
    assert folder.labels.tolist() == [0, 0, 1]
    assert not check(folder).problems
    assert "cut.jpg" in caplog.text
    assert "text.jpeg" in caplog.text


def test_a_class_of_nothing_but_bad_files_is_empty(broken):
    (broken / "dog" / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match="no images of dog"):
        FolderDataset(broken, on_bad_file="skip")


def test_stored_forms_become_what_they_show(root):
    gray = np.linspace(0, 65535, 48).astype(np.uint16).reshape(6, 8)
    Image.fromarray(gray).save(root / "cat" / "0.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(root / "cat" / "1.jpg", exif=exif)
    Image.new("RGBA", (5, 4), (0, 0, 0, 0)).save(root / "cat" / "2.png")
    folder = FolderDataset(root)
    assert folder[0].image.max() == 255
    assert folder[1].size == folder.image_size(1) == (30, 20)
    assert folder[2].image.min() == 255


def test_memory_does_not_grow_with_python_objects(tmp_path):
    for name in ("a", "b"):
        _made(tmp_path / name)
        for number in range(1500):
            (tmp_path / name / f"{number:05}.jpg").touch()
    gc.collect()
    before = len(gc.get_objects())
    folder = FolderDataset(tmp_path)
    gc.collect()
    assert len(gc.get_objects()) - before < 500
    assert folder.name(2999) == "b/01499.jpg"
    assert pickle.loads(pickle.dumps(folder)).label(1500) == 1


def _made(folder):
    folder.mkdir(exist_ok=True)
    return folder


def test_a_link_to_itself_is_no_class(root):
    (root / "loop").symlink_to("loop")
    folder = FolderDataset(root)
    assert folder.class_names == ["cat", "dog"]
    assert folder.report["files outside the class folders skipped"] == 1
