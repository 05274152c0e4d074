"""The shipped classification cards, on small sets that lie on disk as their authors' do."""

import gzip
import re

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.data.formats.test_cifar import hundred, ten
from tests.data.formats.test_mnist import idx
from tests.real_data import REPOSITORY, real_data
from visionkit.cli.parts import build_data


def card(name):
    return yaml.safe_load((REPOSITORY / "data" / f"{name}.yaml").read_text())["data"]


def opened(name, root):
    return build_data({"data": {**card(name), "root": str(root)}})


def made(folder):
    folder.mkdir(parents=True)
    return folder


def pictures(root, *folders, count=5):
    for folder in folders:
        made(root / folder)
        for number in range(count):
            Image.new("RGB", (6, 4)).save(root / folder / f"{number}.JPEG")
    return root


def test_cifar10(tmp_path):
    ten(made(tmp_path / "cifar-10-batches-py"))
    data = opened("cifar10", tmp_path)
    assert [len(data.dataset(split)) for split in ("train", "val", "test")] == [20, 2, 2]


def test_cifar100(tmp_path):
    hundred(made(tmp_path / "cifar-100-python"))
    data = opened("cifar100", tmp_path)
    assert [len(data.dataset(split)) for split in ("train", "val", "test")] == [5, 3, 3]
    assert len(data.class_names) == 100


def test_mnist_as_downloaded(tmp_path):
    for entry in card("mnist")["download"]:
        name = entry["url"].rsplit("/", 1)[-1]
        values = np.zeros((3, 28, 28), np.uint8) if "images" in name else np.arange(3, dtype=np.uint8)
        (tmp_path / name).write_bytes(gzip.compress(idx(values)))
    data = opened("mnist", tmp_path)
    assert [data.dataset(split)[2].label for split in ("train", "val", "test")] == [2, 2, 2]


def test_imagenet(tmp_path):
    wnids = ("n01440764", "n01443537")
    pictures(tmp_path, *(f"{split}/{wnid}" for split in ("train", "val") for wnid in wnids))
    data = opened("imagenet", tmp_path)
    assert data.class_names == list(wnids)
    assert [len(data.dataset(split)) for split in ("train", "val")] == [10, 10]


def test_the_template_holds_out_a_fifth_of_each_class(tmp_path):
    data = opened("folder_template", pictures(tmp_path, "cat", "dog", count=10))
    train, val = data.dataset("train"), data.dataset("val")
    assert [len(train), len(val)] == [16, 4]
    assert sorted(val.label(index) for index in range(4)) == [0, 0, 1, 1]
    names = [{reader[index].image_id for index in range(len(reader))} for reader in (train, val)]
    assert not names[0] & names[1]


def test_cifar10_in_arrays():
    data = opened("cifar10_arrays", real_data("cifar10"))
    assert [len(data.dataset(split)) for split in ("train", "val", "test")] == [50_000, 10_000, 10_000]


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "mnist"])
def test_downloads_are_encrypted_and_verified(name):
    for entry in card(name)["download"]:
        assert entry["url"].startswith("https://")
        assert re.fullmatch("[0-9a-f]{64}", entry["sha256"])
