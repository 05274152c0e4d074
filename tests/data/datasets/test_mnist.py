import gzip

import numpy as np
import pytest

from tests.helpers.mnist_files import idx
from visionkit.data.datasets.mnist import Mnist
from visionkit.errors import DataError

IMAGES = np.arange(3 * 5 * 4, dtype=np.uint8).reshape(3, 5, 4)
LABELS = np.array([7, 0, 9], np.uint8)


def write(root, images=None, labels=None, packed=False):
    for name, data in (("images", images or idx(IMAGES)), ("labels", labels or idx(LABELS))):
        (root / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(data) if packed else data)
    return root


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
def test_images_and_labels_as_stored(tmp_path, packed):
    mnist = Mnist(write(tmp_path, packed=packed), "images", "labels")
    assert mnist.class_names == list("0123456789")
    for index in range(3):
        np.testing.assert_array_equal(mnist[index].image, np.repeat(IMAGES[index][..., None], 3, axis=2))
    assert [mnist.label(index) for index in range(3)] == [7, 0, 9]
    assert (mnist[2].image_id, mnist.image_size(0), len(mnist.annotation(0))) == ("images/2", (5, 4), 0)
    mnist[0].image[:] = 9
    assert mnist[0].image[0, 0, 0] == 0, "what is handed out can be changed without harm"


def test_classes_name_the_labels(tmp_path):
    names = [f"garment {number}" for number in range(10)]
    assert Mnist(write(tmp_path), "images", "labels", classes=names).class_names == names


BAD = {
    "labels for images": ({"images": idx(LABELS)}, "not an idx file with 3 dimensions: its first bytes are .* 08 01"),
    "images for labels": ({"labels": idx(IMAGES)}, r"labels(\.gz)? is not an idx file with 1 dimensions"),
    "other values": ({"images": idx(IMAGES, kind=0x0D)}, "not an idx file with 3 dimensions"),
    "no idx": ({"images": b"\x89PNG and so on"}, "not an idx file"),
    "half a head": ({"images": idx(IMAGES)[:9]}, "is not an idx file with 3 dimensions"),
    "cut": ({"images": idx(IMAGES)[:-1]}, r"header has the shape \[3, 5, 4\], which needs 60 bytes, but there are 59"),
    "too long": ({"images": idx(IMAGES) + b"0"}, "needs 60 bytes, but there are more"),
    "a label too few": ({"labels": idx(LABELS[:2])}, "has 3 images and 2 labels"),
    "no images": ({"images": idx(IMAGES[:0]), "labels": idx(LABELS[:0])}, "0 images"),
    "label too high": ({"labels": idx(LABELS + np.uint8(1))}, "image 2 has the label 10; labels must be 0 to 9"),
}  # fmt: skip


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_with_the_reason(tmp_path, case, packed):
    content, message = BAD[case]
    with pytest.raises(DataError, match=message) as caught:
        Mnist(write(tmp_path, **content, packed=packed), "images", "labels")
    assert len(str(caught.value).splitlines()) <= 5


def test_broken_packing_and_missing_files_are_refused(tmp_path):
    write(tmp_path, packed=True)
    whole = (tmp_path / "images.gz").read_bytes()
    for damaged in (whole[:-12], b"no gzip", whole[:12] + bytes(20) + whole[32:]):
        (tmp_path / "images.gz").write_bytes(damaged)
        with pytest.raises(DataError, match=r"images\.gz (cannot be decompressed|is not an idx file|: the header has)"):
            Mnist(tmp_path, "images", "labels")
    with pytest.raises(DataError, match=r"annotation file .*gone does not exist"):
        Mnist(tmp_path, "gone", "labels")


def test_a_file_that_unpacks_to_far_more_than_it_says_is_not_unpacked(tmp_path):
    write(tmp_path, images=idx(IMAGES) + bytes(50_000_000), packed=True)
    with pytest.raises(DataError, match="but there are more"):
        Mnist(tmp_path, "images", "labels")


def test_a_head_that_promises_more_than_there_is_takes_no_memory(tmp_path):
    write(tmp_path, images=idx(IMAGES, lengths=(2**31, 2**15, 2**15)))
    with pytest.raises(DataError, match="images: the header has"):
        Mnist(tmp_path, "images", "labels")
