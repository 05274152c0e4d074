from collections import Counter

import numpy as np
import pytest

from visionkit.data.datasets.image_mask_pairs import FilePattern, pair_by_list, pair_by_name
from visionkit.errors import DataError


def touched(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def by_name(images, masks):
    pairs = pair_by_name(images, masks, Counter())
    return list(zip(pairs.images, pairs.masks, strict=True))


def test_files_of_one_name_belong_together_and_numbers_count(tmp_path):
    touched(tmp_path, "p/10.jpg", "p/2.jpg", "p/deep/1.JPG", "m/2.png", "m/10.png", "m/deep/1.png")
    assert by_name(FilePattern(tmp_path / "p"), FilePattern(tmp_path / "m")) == [
        ("2.jpg", "2.png"),
        ("10.jpg", "10.png"),
        ("deep/1.JPG", "deep/1.png"),
    ]


def test_suffixes_tell_images_and_masks_of_one_folder_apart(tmp_path):
    touched(tmp_path, "a_image.png", "a_labels.png", "a_labels_colored.png", "notes.txt")
    assert by_name(FilePattern(tmp_path, "_image.png"), FilePattern(tmp_path, "_labels.png")) == [
        ("a_image.png", "a_labels.png")
    ]


def test_masks_in_a_folder_below_the_images_are_no_images(tmp_path):
    touched(tmp_path, "a.jpg", "labels/a.png", "labels_old/b.jpg", "labels/labels_old/b.png")
    assert by_name(FilePattern(tmp_path), FilePattern(tmp_path / "labels")) == [
        ("a.jpg", "a.png"),
        ("labels_old/b.jpg", "labels_old/b.png"),
    ]


def test_what_has_no_counterpart_is_listed(tmp_path):
    touched(tmp_path, *(f"p/{number}.jpg" for number in range(9)), "m/0.png")
    with pytest.raises(DataError, match=r"8 of 9 images have no mask in .*m: 1.jpg, 2.jpg, 3.jpg, 4.jpg, 5.jpg and"):
        by_name(FilePattern(tmp_path / "p"), FilePattern(tmp_path / "m"))
    with pytest.raises(DataError, match=r"8 of 9 masks have no image"):
        by_name(FilePattern(tmp_path / "m"), FilePattern(tmp_path / "p"))
    with pytest.raises(DataError, match=r"has no images; the searched file names end in _x.png"):
        by_name(FilePattern(tmp_path / "p", "_x.png"), FilePattern(tmp_path / "m"))


def test_two_files_of_one_name_are_refused(tmp_path):
    touched(tmp_path, "p/a.jpg", "p/a.png", "m/a.png")
    with pytest.raises(DataError, match=r"a.jpg and a.png, which would have the same counterpart"):
        by_name(FilePattern(tmp_path / "p"), FilePattern(tmp_path / "m"))


def in_list(root, text, *sides):
    (root / "list.txt").write_text(text)
    return pair_by_list(root / "list.txt", *(sides or (FilePattern(root), FilePattern(root))))


def test_a_list_gives_pairs_in_its_order(tmp_path):
    touched(tmp_path, "p/b.jpg", "p/a c.jpg", "m/x.png", "m/y.png")
    pairs = in_list(tmp_path, "p/b.jpg m/x.png\n\np/a c.jpg\tm/y.png\n")
    assert (pairs.images, pairs.masks) == (["p/b.jpg", "p/a c.jpg"], ["m/x.png", "m/y.png"])
    chosen = pairs.select(np.array([False, True]))
    assert (chosen.images, chosen.masks) == (["p/a c.jpg"], ["m/y.png"])


def test_a_list_of_names_takes_the_suffixes(tmp_path):
    touched(tmp_path, "p/b.jpg", "m/b_L.png")
    pairs = in_list(tmp_path, "b\n", FilePattern(tmp_path / "p", ".jpg"), FilePattern(tmp_path / "m", "_L.png"))
    assert (pairs.images, pairs.masks) == (["b.jpg"], ["b_L.png"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lists no image"),
        ("a.jpg b.png c.png\n", "must be an image and its mask, or one name"),
        ("a\n", "one name per line .*set image_suffix"),
        ("a.jpg a.png\na.jpg a.png\n", "1 images occur more than once: a.jpg"),
        ("../a.jpg a.png\n", "is outside"),
        ("a.jpg /a.png\n", "is outside"),
        ("b.jpg a.png\n", "1 images are missing: .*b.jpg"),
        ("a.jpg b.png\n", "1 masks are missing: .*b.png"),
    ],
)
def test_mistakes_in_a_list_are_named(tmp_path, text, message):
    touched(tmp_path, "a.jpg", "a.png")
    with pytest.raises(DataError, match=message):
        in_list(tmp_path, text)
