import os
import pickle

import numpy as np
import pytest

from tests.helpers.cifar_files import random_images, write_cifar10, write_cifar100, write_pickle
from visionkit.data.datasets.cifar import Cifar
from visionkit.data.datasets.cifar_pickle import read_pickle
from visionkit.errors import DataError


@pytest.mark.parametrize("modern", [False, True], ids=["Python 2", "Python 3"])
def test_ten_classes_in_five_batches(tmp_path, modern):
    cifar = Cifar(write_cifar10(tmp_path, modern), "train")
    assert (len(cifar), cifar.class_names[3]) == (20, "class3")
    assert cifar.labels.tolist() == [label for number in range(1, 6) for label in (number, 0, 1, 9)]
    planes = random_images(2)[3].reshape(3, 32, 32)
    sample = cifar[7]
    np.testing.assert_array_equal(sample.image, np.stack(list(planes), axis=-1))
    assert (sample.image_id, sample.label, sample.size) == ("train/7", 9, (32, 32))
    assert Cifar(tmp_path, "test").labels.tolist() == [3, 4]


def test_the_pickles_of_the_test_are_those_that_python_2_wrote(tmp_path):
    """Python reads these files as it reads the original ones."""
    write_cifar10(tmp_path)
    with (tmp_path / "data_batch_1").open("rb") as file:
        content = pickle.load(file, encoding="bytes")
    np.testing.assert_array_equal(content[b"data"], random_images(1))
    assert b"numpy.core.multiarray\n_reconstruct" in (tmp_path / "data_batch_1").read_bytes()


def test_arrays_stored_by_columns_are_read_so(tmp_path):
    values = np.asfortranarray(random_images(1))
    write_pickle(tmp_path / "a", {b"data": values})
    np.testing.assert_array_equal(read_pickle(tmp_path / "a")[b"data"], values)


def test_a_hundred_classes_fine_and_coarse(tmp_path):
    root = write_cifar100(tmp_path)
    assert (len(Cifar(root, "train").class_names), Cifar(root, "train").labels.tolist()) == (100, [0, 1, 2, 3, 4])
    coarse = Cifar(root, "test", kind="coarse")
    assert (len(coarse.class_names), coarse.labels.tolist()) == (20, [1, 1, 1])


def test_the_batches_may_lie_in_a_folder(tmp_path):
    (tmp_path / "inner").mkdir()
    write_cifar10(tmp_path / "inner")
    assert len(Cifar(tmp_path, "test", folder="inner")) == 2
    with pytest.raises(DataError, match=r"(?s)neither batches\.meta.*visionkit data download"):
        Cifar(tmp_path, "test")


BAD = {
    "label too high": ({b"labels": [1, 2, 3, 10]}, "data_batch_1: image 3 has the label 10; labels must be 0 to 9"),
    "label below zero": ({b"labels": [1, 2, 3, -1]}, "image 3 has the label -1"),
    "a label too few": ({b"labels": [1, 2, 3]}, "4 images and 3 labels"),
    "labels as text": ({b"labels": [1, 2, 3, b"4"]}, "labels is not a list of integers"),
    "other images": ({b"data": np.zeros((4, 3000), np.uint8)}, "rows of 3072 bytes"),
    "no array": ({b"data": [1, 2]}, "rows of 3072 bytes"),
    "not bytes": ({b"data": np.zeros((4, 3072), np.float32)}, "an array is not of bytes"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_batches_are_refused_with_the_reason(tmp_path, case):
    changes, message = BAD[case]
    with pytest.raises(DataError, match=message) as caught:
        Cifar(_changed(tmp_path, changes), "train")
    assert len(str(caught.value).splitlines()) <= 5


def _changed(root, changes):
    write_cifar10(root)
    content = {b"labels": [1, 0, 1, 9], b"data": random_images(1), **changes}
    write_pickle(root / "data_batch_1", content)
    return root


def test_missing_parts_are_named(tmp_path):
    write_cifar10(tmp_path)
    write_pickle(tmp_path / "test_batch", {b"data": random_images(1)})
    with pytest.raises(DataError, match="test_batch is not a CIFAR batch: it has no labels"):
        Cifar(tmp_path, "test")
    write_pickle(tmp_path / "test_batch", [1, 2])
    with pytest.raises(DataError, match="is not a CIFAR batch: it does not contain a dict"):
        Cifar(tmp_path, "test")
    (tmp_path / "data_batch_3").unlink()
    with pytest.raises(DataError, match=r"annotation file .*data_batch_3 does not exist"):
        Cifar(tmp_path, "train")
    write_pickle(tmp_path / "batches.meta", {b"label_names": [1, 2]})
    with pytest.raises(DataError, match="label_names is not a list of names"):
        Cifar(tmp_path, "train")
    with pytest.raises(DataError, match="CIFAR-10, which has no coarse classes"):
        Cifar(tmp_path, "train", kind="coarse")


def test_other_class_names_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"data\.classes must be left out or equal"):
        Cifar(write_cifar10(tmp_path), "test", classes=["a", "b"])


class Harm:
    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@pytest.mark.parametrize(
    "harm",
    [(os.mkdir, "harm"), (eval, "open('harm', 'w')"), (getattr, 1, "real"), (np.save, "harm", 1), (bytearray, 10**12)],
    ids=lambda harm: harm[0].__name__,
)
def test_a_pickle_cannot_run_code(tmp_path, monkeypatch, harm):
    monkeypatch.chdir(tmp_path)
    content = {b"data": Harm(*harm), b"labels": [1]}
    (tmp_path / "test_batch").write_bytes(pickle.dumps(content, protocol=4))
    with pytest.raises(DataError, match=r"test_batch is refused: it names .*no code of it was run") as caught:
        read_pickle(tmp_path / "test_batch")
    assert len(str(caught.value).splitlines()) <= 5
    assert [path.name for path in tmp_path.iterdir()] == ["test_batch"]


def test_broken_pickles_are_refused(tmp_path):
    write_cifar10(tmp_path)
    whole = (tmp_path / "test_batch").read_bytes()
    random = np.random.default_rng(0)
    garbled = [whole[:-20], b"", b"no pickle", *(_with_noise(whole, random) for _ in range(300))]
    for data in garbled:
        (tmp_path / "test_batch").write_bytes(data)
        try:
            Cifar(tmp_path, "test")
        except DataError:
            continue
        assert data not in garbled[:3], "noise may hit an image's bytes alone, which nobody can notice"


def _with_noise(data, random):
    changed = bytearray(data)
    for place in random.integers(0, 200, 3):
        changed[place] = random.integers(256)
    return bytes(changed)


def test_a_pickle_that_asks_for_gigabytes_is_refused(tmp_path):
    """Python's memo grows to the largest number in it, here 2**31 pointers."""
    (tmp_path / "batches.meta").write_bytes(b"\x80\x02}r\xff\xff\xff\x7f.")
    with pytest.raises(DataError, match="it numbers a value 2147483647, although it has only 9 bytes"):
        Cifar(tmp_path, "test")
