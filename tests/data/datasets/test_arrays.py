import io
import pickle

import numpy as np
import pytest
from PIL import Image

from tests.helpers.real_data import real_data
from visionkit.data.datasets.arrays import ArrayDataset
from visionkit.errors import DataError

COLORS = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]


def encoded(color, size=(6, 4)):
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, "PNG")
    return np.frombuffer(buffer.getvalue(), np.uint8)


@pytest.fixture
def small(tmp_path):
    """A function that writes three images, changed by the caller, and returns the folder."""

    def write(**changes):
        files = [encoded(color) for color in COLORS]
        arrays = {
            "jpeg": np.concatenate(files),
            "offsets": np.cumsum([0, *map(len, files)]),
            "labels": np.array([1, 0, 1], np.uint8),
            "class_names": np.array(["frog", "ship"]),
        }
        kept = {key: value for key, value in {**arrays, **changes}.items() if value is not None}
        np.savez_compressed(tmp_path / "set.npz", **kept)
        return tmp_path

    return write


def test_images_are_decoded_one_at_a_time(small):
    arrays = ArrayDataset(small(), "set.npz")
    assert arrays.class_names == ["frog", "ship"]
    for index, color in enumerate(COLORS):
        assert (arrays[index].image == color).all()
    assert [arrays.label(index) for index in range(3)] == [1, 0, 1]
    assert [arrays.tags(index).tolist() for index in range(3)] == [[1], [0], [1]]
    assert (arrays[1].image_id, arrays[1].label, arrays.image_size(1)) == ("set/1", 0, (4, 6))
    assert (pickle.loads(pickle.dumps(arrays))[2].image == COLORS[2]).all()


LENGTH = sum(len(encoded(color)) for color in COLORS)
BAD = {
    "array missing": ({"labels": None}, "has no arrays labels"),
    "label too high": ({"labels": np.array([1, 2, 1])}, "image 1 has the label 2; labels must be 0 to 1"),
    "label below zero": ({"labels": np.array([1, -1, 1])}, "image 1 has the label -1"),
    "a label too few": ({"labels": np.array([1, 0])}, "3 images and 2 labels"),
    "labels as numbers with points": ({"labels": np.array([1.0, 0.0, 1.0])}, "array labels is float64"),
    "offsets beyond the end": ({"offsets": np.array([0, 5, 9, LENGTH + 1])}, "offsets must increase from 0"),
    "decreasing offsets": ({"offsets": np.array([0, 9, 5, LENGTH])}, "offsets must increase"),
    "nothing": ({"offsets": np.array([0])}, "offsets must increase"),
    "pickled names": ({"class_names": np.array(["frog", 1], object)}, "class_names.npy holds Python objects"),
    "one class": ({"class_names": np.array(["frog"]), "labels": np.zeros(3, int)}, "has 1 class"),
    "images in the open": ({"jpeg": np.zeros((3, 4, 6, 3), np.uint8)}, r"array jpeg is uint8 \[3, 4, 6, 3\]"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_with_the_reason(small, case):
    changes, message = BAD[case]
    with pytest.raises(DataError, match=message) as caught:
        ArrayDataset(small(**changes), "set.npz")
    assert len(str(caught.value).splitlines()) <= 5


def test_a_file_that_is_no_archive_is_refused(tmp_path, small):
    (tmp_path / "text.npz").write_text("no archive")
    whole = (small() / "set.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    np.save(tmp_path / "single.npz.npy", np.zeros(3))
    (tmp_path / "single.npz.npy").rename(tmp_path / "single.npz")
    for name in ("text.npz", "cut.npz", "single.npz"):
        with pytest.raises(DataError, match=f"{name} cannot be read: not an .npz file"):
            ArrayDataset(tmp_path, name)
    with pytest.raises(DataError, match=r"the annotation file .*gone.npz does not exist"):
        ArrayDataset(tmp_path, "gone.npz")


def test_a_damaged_byte_is_noticed(small):
    path = small() / "set.npz"
    data = bytearray(path.read_bytes())
    data[data.index(b"jpeg.npy") + 60] ^= 255
    path.write_bytes(data)
    with pytest.raises(DataError, match="cannot be read"):
        ArrayDataset(path.parent, "set.npz")


def test_a_broken_image_is_named_by_its_number(small):
    garbled = np.concatenate([encoded(COLORS[0]), np.zeros(20, np.uint8)])
    root = small(jpeg=garbled, offsets=np.array([0, len(garbled) - 20, len(garbled)]), labels=np.array([0, 1]))
    with pytest.raises(DataError, match="image set/1 cannot be read"):
        ArrayDataset(root, "set.npz")[1]


def test_other_class_names_are_refused(small):
    assert ArrayDataset(small(), "set.npz", classes=["frog", "ship"])
    with pytest.raises(DataError, match=r"data\.classes must be left out or equal"):
        ArrayDataset(small(), "set.npz", classes=["ship", "frog"])


CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def test_cifar10_as_its_readme_describes_it():
    root = real_data("cifar10")
    for name, each in (("train", 5000), ("test", 1000)):
        arrays = ArrayDataset(root, f"{name}_jpeg.npz")
        assert arrays.class_names == CLASSES
        assert np.bincount(arrays.labels).tolist() == [each] * 10
        assert arrays[len(arrays) - 1].size == (32, 32)


def test_cifar10_shows_what_its_lossless_sheets_show():
    root = real_data("cifar10")
    arrays = ArrayDataset(root, "train_jpeg.npz")
    stated = np.loadtxt(root / "lossless" / "train_labels.txt", dtype=np.int64)
    np.testing.assert_array_equal(arrays.labels[: len(stated)], stated)
    sheet = np.asarray(Image.open(root / "lossless" / "train_2.png"))
    lossless = sheet.reshape(25, 32, 40, 32, 3).transpose(0, 2, 1, 3, 4).reshape(1000, 32, 32, 3).astype(float)
    coded = np.stack([arrays[2000 + index].image for index in range(1000)])
    psnr = 10 * np.log10(255**2 / ((coded - lossless) ** 2).mean(axis=(1, 2, 3)))
    assert psnr.min() > 23, "the README measured 23.1 dB at worst"
    assert 29 < np.median(psnr) < 32
