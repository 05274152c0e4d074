"""The shipped cards of classification and segmentation, on small datasets in the published file layout."""

import gzip
import json
import re

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.helpers.cifar_files import write_cifar10, write_cifar100
from tests.helpers.mnist_files import idx
from tests.helpers.real_data import REPOSITORY, real_data
from visionkit.cli.config.build import build_data
from visionkit.cli.config.compose import compose
from visionkit.data.datasets.image_path import image_path


def card(name):
    return yaml.safe_load((REPOSITORY / "data" / f"{name}.yaml").read_text())["data"]


def opened(name, root):
    return build_data({"data": {**card(name), "root": str(root)}})


def made(folder):
    folder.mkdir(parents=True)
    return folder


def images(root, *folders, count=5):
    for folder in folders:
        made(root / folder)
        for number in range(count):
            Image.new("RGB", (6, 4)).save(root / folder / f"{number}.JPEG")
    return root


def test_cifar10(tmp_path):
    write_cifar10(made(tmp_path / "cifar-10-batches-py"))
    data = opened("cifar10", tmp_path)
    assert [len(data.dataset(split)) for split in ("train", "val", "test")] == [20, 2, 2]


def test_cifar100(tmp_path):
    write_cifar100(made(tmp_path / "cifar-100-python"))
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
    images(tmp_path, *(f"{split}/{wnid}" for split in ("train", "val") for wnid in wnids))
    data = opened("imagenet", tmp_path)
    assert data.class_names == list(wnids)
    assert [len(data.dataset(split)) for split in ("train", "val")] == [10, 10]


def test_the_template_holds_out_a_fifth_of_each_class(tmp_path):
    data = opened("folder_template", images(tmp_path, "cat", "dog", count=10))
    train, val = data.dataset("train"), data.dataset("val")
    assert [len(train), len(val)] == [16, 4]
    assert sorted(val.label(index) for index in range(4)) == [0, 0, 1, 1]
    names = [{reader[index].image_id for index in range(len(reader))} for reader in (train, val)]
    assert not names[0] & names[1]


def test_cifar10_in_arrays():
    data = opened("cifar10_arrays", real_data("cifar10"))
    assert [len(data.dataset(split)) for split in ("train", "val", "test")] == [50_000, 10_000, 10_000]


def test_camvid(tmp_path):
    for split in ("train", "val", "test"):
        (tmp_path / split).mkdir()
        (tmp_path / f"{split}annot").mkdir()
        Image.new("RGB", (12, 1)).save(tmp_path / split / "0001TP.png")
        Image.fromarray(np.arange(12, dtype=np.uint8)[None]).save(tmp_path / f"{split}annot" / "0001TP.png")
        (tmp_path / f"{split}.txt").write_text(f"{split}/0001TP.png {split}annot/0001TP.png\n")
    data = opened("camvid", tmp_path)
    for split in ("train", "val", "test"):
        assert data.dataset(split)[0].semantic.tolist() == [[*range(11), 255]]
    assert [data.class_names[index] for index in (0, 4, 10)] == ["sky", "pavement", "bicyclist"]
    assert [data.class_colors[index] for index in (0, 4, 10)] == [(128, 128, 128), (0, 0, 192), (0, 128, 192)]


def write_ccp(root):
    """Three photographs in the layout of the cards ccp_boxes, ccp_masks and ccp_tags."""
    names = ["train/a.jpg", "train/b.jpg", "val/a.jpg"]
    for folder, mode, suffix in (("images", "RGB", ".jpg"), ("masks_9", "L", ".png")):
        for name in names:
            path = (root / folder / name).with_suffix(suffix)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new(mode, (9, 4), 8 if mode == "L" else 0).save(path)
    content = {
        "images": [{"id": n, "file_name": name, "height": 4, "width": 9} for n, name in enumerate(names)],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [{"id": n, "image_id": n, "category_id": 1, "bbox": [1, 1, 3, 2]} for n in range(3)],
    }
    (root / "boxes_coco.json").write_text(json.dumps(content))
    rows = ["train,hat;cape", "train,cape", "val,vest;hat"]
    table = ["file,split,tags", *(f"{name},{row}" for name, row in zip(names, rows, strict=True))]
    (root / "image_labels.csv").write_text("\n".join(table))


def test_the_cards_of_clothing_co_parsing(tmp_path):
    write_ccp(tmp_path)
    boxes, masks, tags = (opened(name, tmp_path) for name in ("ccp_boxes", "ccp_masks", "ccp_tags"))
    for split, images in (("train", ["train/a.jpg", "train/b.jpg"]), ("val", ["val/a.jpg"])):
        for data in (boxes, masks, tags):
            reader = data.dataset(split)
            files = {image_path(reader, index) for index in range(len(reader))}
            assert files == {tmp_path / "images" / name for name in images}
    assert [len(boxes.dataset(split).annotation(0)) for split in boxes.splits] == [1, 1]
    assert masks.class_names[8] == "accessory"
    assert np.unique(masks.dataset("val").semantic(0)).tolist() == [8]
    named = [[tags.class_names[tag] for tag in tags.dataset("train").tags(index)] for index in range(2)]
    assert named == [["hat"], []]
    assert tags.dataset("train").report == {"labels of other classes skipped": 2}


def test_classifiers_of_clothing_co_parsing_have_several_classes_per_image():
    assert compose(["transfer_finetune", "ccp_tags"]).values["model"]["multi_label"] is True


def test_isbi_membrane_holds_out_a_block_and_any_other_from_the_command_line(tmp_path):
    for number in range(30):
        for folder in ("images", "labels"):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.new("L", (4, 4), 255 * (number % 2)).save(tmp_path / folder / f"{number}.png")
    words = ["data/isbi_membrane.yaml", f"data.root={tmp_path}"]
    for overrides, held_out in (
        ([], range(24, 30)),
        (["data.splits.train.fold=0", "data.splits.val.fold=0"], range(6)),
    ):
        data = build_data(compose([*words, *overrides]).values)
        train, val = data.dataset("train"), data.dataset("val")
        assert [val.name(index) for index in range(len(val))] == [f"{number}.png" for number in held_out]
        assert len(train) == 24
        assert not {train.name(index) for index in range(24)} & {val.name(index) for index in range(6)}
    assert [np.unique(train.semantic(index)).tolist() for index in (0, 1)] == [[0], [1]]


def test_the_template_for_masks_opens_and_holds_out_a_fifth(tmp_path):
    for number in range(10):
        for folder in ("images", "masks"):
            (tmp_path / folder).mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "images" / f"{number}.jpg")
        Image.new("L", (4, 4), (0, 1, 2, 255)[number % 4]).save(tmp_path / "masks" / f"{number}.png")
    data = opened("masks_template", tmp_path)
    assert [len(data.dataset(split)) for split in ("train", "val")] == [8, 2]
    assert data.class_names == ["background", "cat", "dog"]
    counts, out_of = data.pixel_counts("train")
    assert counts.sum() == out_of.sum() > 0


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "mnist"])
def test_downloads_are_encrypted_and_verified(name):
    for entry in card(name)["download"]:
        assert entry["url"].startswith("https://")
        assert re.fullmatch("[0-9a-f]{64}", entry["sha256"])


@pytest.mark.parametrize("name", ["voc2007", "voc0712"])
def test_no_test_image_chooses_the_checkpoint_of_voc(name):
    splits = card("voc2007")["splits"] | card(name)["splits"]
    sets = {split: splits[split] if isinstance(splits[split], list) else [splits[split]] for split in splits}
    of_2007 = {
        split: {part["image_set"] for part in parts if "2007" in part["folder"]} for split, parts in sets.items()
    }
    assert of_2007 == {"train": {"train"}, "val": {"val"}, "test": {"test"}}


@pytest.mark.parametrize("name", ["voc2007", "voc0712"])
def test_the_published_protocol_of_voc_has_no_validation(name):
    recipe = compose(["ssd300_vgg16", f"{name}_trainval"]).values
    train = recipe["data"]["splits"]["train"]
    assert {part["image_set"] for part in (train if isinstance(train, list) else [train])} == {"trainval"}
    assert recipe["trainer"]["limit_val_batches"] == 0
    for path in (REPOSITORY / "recipes").glob("*.yaml"):
        published = [line for line in path.read_text().splitlines() if "data/voc0712" in line and "published" in line]
        assert all("data/voc0712_trainval.yaml" in line for line in published), path
