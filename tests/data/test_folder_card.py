"""Folders become data cards that can be read."""

import json
import time

import pytest
from PIL import Image

from tests.helpers.real_data import real_data
from tests.helpers.voc_files import xml
from tests.helpers.yolo_files import write_yolo
from visionkit.data.datamodule import VisionData
from visionkit.data.folder_card import HOLDOUT, card_of_folder
from visionkit.data.holdout import HoldoutOptions
from visionkit.errors import ConfigError, DataError


def write_image(path, size=(60, 40), mode="RGB", color=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path)


def write_coco(path, names):
    content = {
        "images": [{"id": index, "file_name": name, "height": 40, "width": 60} for index, name in enumerate(names)],
        "categories": [{"id": 3, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 0, "category_id": 3, "bbox": [1, 2, 30, 20]}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def opened(card):
    """Read all images of a card, and return the number of images by split."""
    section = dict(card.values["data"])
    holdout = HoldoutOptions(**section.pop("holdout")) if "holdout" in section else None
    data = VisionData(**section, holdout=holdout)
    counts = {}
    for split in data.splits:
        dataset = data.dataset(split)
        counts[split] = len([dataset[index] for index in range(len(dataset))])
    return counts


def test_coco_files_by_split(tmp_path):
    for split in ("train", "val"):
        write_image(tmp_path / f"{split}2017" / "a.jpg")
        write_coco(tmp_path / "annotations" / f"instances_{split}2017.json", ["a.jpg"])
    write_coco(tmp_path / "annotations" / "person_keypoints_val2017.json", ["a.jpg"])
    (tmp_path / "predictions.json").write_text('[{"image_id": 1}]')
    card = card_of_folder(tmp_path)
    assert card.values["data"]["format"] == "coco"
    assert card.values["data"]["splits"]["val"]["images"] == "val2017"
    assert opened(card) == {"train": 1, "val": 1}


def test_several_coco_files_of_a_split_are_its_parts_unless_they_share_images(tmp_path):
    for name in ("a.jpg", "b.jpg"):
        write_image(tmp_path / name)
        write_coco(tmp_path / f"{name}.json", [name])
    write_coco(tmp_path / "c.json", ["b.jpg"])
    card = card_of_folder(tmp_path)
    assert [part["annotations"] for part in card.values["data"]["splits"]["train"]] == ["a.jpg.json", "b.jpg.json"]
    assert card.notes[0] == "c.json is not used: it has images of a.jpg.json"
    assert opened(card)["train"] == 1
    assert card.values["data"]["holdout"] == HOLDOUT


def test_coco_without_its_images_is_told(tmp_path):
    write_coco(tmp_path / "train.json", ["gone.jpg"])
    with pytest.raises(DataError, match=r"(?s)is not recognized.*coco: train.json is not used.*gone\.jpg"):
        card_of_folder(tmp_path)


def test_voc_with_image_sets(tmp_path):
    for name in "ab":
        write_image(tmp_path / "VOC" / "JPEGImages" / f"{name}.jpg")
        (tmp_path / "VOC" / "Annotations").mkdir(exist_ok=True)
        (tmp_path / "VOC" / "Annotations" / f"{name}.xml").write_text(xml())
    (tmp_path / "VOC" / "ImageSets" / "Main").mkdir(parents=True)
    for name, ids in (("trainval", "a\nb"), ("val", "b")):
        (tmp_path / "VOC" / "ImageSets" / "Main" / f"{name}.txt").write_text(ids)
    card = card_of_folder(tmp_path)
    assert card.values["data"]["splits"]["train"] == {"image_set": "trainval", "folder": "VOC"}
    assert opened(card) == {"train": 2, "val": 1}


@pytest.mark.parametrize("annotations", ["train", "labels/train"])
def test_xml_files_without_image_sets(annotations, tmp_path):
    for name in ("x2.png", "x10.jpeg"):
        write_image(tmp_path / "train" / name)
        (tmp_path / annotations).mkdir(parents=True, exist_ok=True)
        (tmp_path / annotations / f"{name.partition('.')[0]}.xml").write_text(xml())
    card = card_of_folder(tmp_path)
    assert card.values["data"]["splits"] == {"train": {"annotations": annotations, "images": "train"}}
    assert card.notes == ["there is no val split: 20% of train are held out"]
    section = card.values["data"]
    dataset = VisionData(section["format"], section["root"], section["splits"]).dataset("train")
    assert [dataset[index].file_name for index in (0, 1)] == ["x2.png", "x10.jpeg"]


def test_yolo_with_and_without_a_description(tmp_path):
    write_yolo(tmp_path, {"a": "0 0.5 0.5 0.2 0.2", "b": "1 0.5 0.5 0.2 0.2"})
    assert card_of_folder(tmp_path).values["data"]["splits"] == {"train": {"split": "train", "dataset": "data.yaml"}}
    (tmp_path / "data.yaml").unlink()
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    card = card_of_folder(tmp_path)
    assert card.values["data"]["splits"] == {"train": {"dataset": "classes.txt", "images": "images/train"}}
    assert opened(card) == {"train": 1, "val": 1}


def test_masks_beside_their_images(tmp_path):
    for split in ("train", "val"):
        for index in range(3):
            write_image(tmp_path / split / "images" / f"{index}.jpg")
            write_image(tmp_path / split / "labels" / f"{index}.png", mode="L", color=(0, 7, 255)[index])
    card = card_of_folder(tmp_path)
    assert card.values["data"]["splits"]["val"] == {
        "images": "val/images",
        "masks": "val/labels",
        "values": {0: "class_0", 7: "class_7", 255: "ignore"},
    }
    assert "name the classes" in card.notes[0]
    assert opened(card) == {"train": 3, "val": 3}


def test_masks_with_colors_need_a_card(tmp_path):
    write_image(tmp_path / "images" / "a.jpg")
    write_image(tmp_path / "masks" / "a.png", color=(255, 0, 0))
    with pytest.raises(DataError, match="masks: the masks have colors; write a card"):
        card_of_folder(tmp_path)


def test_folders_of_classes_with_and_without_splits(tmp_path):
    for name in ("cat", "dog"):
        for index in range(2):
            write_image(tmp_path / "flat" / name / f"{index}.jpg")
            for split in ("train", "test"):
                write_image(tmp_path / "split" / split / name / f"{index}.jpg")
    assert opened(card_of_folder(tmp_path / "flat")) == {"train": 2, "val": 2}
    card = card_of_folder(tmp_path / "split")
    assert card.values["data"]["splits"] == {"train": {"path": "train"}, "test": {"path": "test"}}
    assert opened(card) == {"train": 2, "test": 4, "val": 2}


def test_an_export_of_one_split_becomes_train(tmp_path):
    write_yolo(tmp_path, {"a": "0 0.5 0.5 0.2 0.2"}, split="test")
    card = card_of_folder(tmp_path)
    assert list(card.values["data"]["splits"]) == ["train"]
    assert card.notes == [
        "there is no train split: test is taken as train",
        "there is no val split: 20% of train are held out",
    ]


def test_val_and_test_without_train_keep_their_names(tmp_path):
    """Each can be evaluated, and neither is trained on unless the user says so."""
    for split in ("val", "test"):
        for name in ("cat", "dog"):
            write_image(tmp_path / split / name / "a.jpg")
    card = card_of_folder(tmp_path)
    assert card.values["data"]["splits"] == {"val": {"path": "val"}, "test": {"path": "test"}}
    assert card.notes == ["there is no train split, only val and test: to train, name one train in the card"]
    assert opened(card) == {"val": 2, "test": 2}


def test_several_formats_need_a_choice(tmp_path):
    write_yolo(tmp_path, {"a": "0 0.5 0.5 0.2 0.2"})
    write_coco(tmp_path / "train.json", ["a.png"])
    with pytest.raises(DataError, match=r"(?s)in several formats: coco, yolo.*--format coco > data/mine.yaml"):
        card_of_folder(tmp_path)
    assert card_of_folder(tmp_path, "yolo").values["data"]["format"] == "yolo"


@pytest.mark.parametrize(
    ("format", "error", "said"),
    [
        ("yoli", ConfigError, "did you mean yolo"),
        ("shapes", DataError, "need a data card"),
        ("coco", DataError, "is not recognized; it has 1 .jpg"),
        (None, DataError, "is not recognized; it has 1 .jpg"),
    ],
)
def test_what_is_not_recognized_is_told(format, error, said, tmp_path):
    write_image(tmp_path / "a.jpg")
    with pytest.raises(error, match=said):
        card_of_folder(tmp_path, format)


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        card_of_folder(tmp_path / "gone")


@pytest.mark.parametrize(
    ("name", "format", "counts"),
    [
        ("bccd", "voc", {"train": 205, "val": 87, "test": 72}),
        ("voc2007-mini", "voc", {"train": 210, "val": 105}),
        ("coco-mini", "coco", {"train": 52, "val": 36}),
        ("camvid", "masks", {"train": 367, "val": 101, "test": 233}),
        ("isbi-membrane", "masks", {"train": 24, "val": 6}),
        ("annotation-formats/yolo_segment_potholes", "yolo", {"train": 10, "val": 14}),
        ("video-aerial/aerial_cars", "yolo", {"train": 14, "val": 6}),
    ],
)
def test_real_folders(name, format, counts):
    card = card_of_folder(real_data(name))
    section = dict(card.values["data"])
    holdout = HoldoutOptions(**section.pop("holdout")) if "holdout" in section else None
    data = VisionData(**section, holdout=holdout)
    assert section["format"] == format
    assert {split: len(data.dataset(split)) for split in data.splits} == counts


HEADS = {
    "tf_csv": ("_annotations.csv", "filename,width,height,class,xmin,ymin,xmax,ymax\n"),
    "open_images": ("boxes.csv", "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsGroupOf\n"),
    "createml": (
        "_annotations.createml.json",
        '[{"image": "a.jpg", "annotations": [{"label": "a", "coordinates": {}}]}]',
    ),
    "label_studio": ("export.json", '[{"annotations": [{"result": [{"original_width": 1, "original_height": 1}]}]}]'),
    "labelme": ("a.json", '{"shapes": [{"label": "a", "shape_type": "polygon"}], "imagePath": "a.jpg"}'),
    "via": ("via.json", '{"a.jpg1": {"filename": "a.jpg", "regions": [{"shape_attributes": {}}]}}'),
    "cvat": ("annotations.xml", '<annotations><version>1.1</version><image name="a.jpg"></image></annotations>'),
}


@pytest.mark.parametrize("format", HEADS)
@pytest.mark.parametrize("splits", [[""], ["train", "valid"]])
def test_files_of_tools_are_recognized_by_their_head(format, splits, tmp_path):
    name, text = HEADS[format]
    for split in splits:
        write_image(tmp_path / split / "a.jpg")
        (tmp_path / split / name).write_text(text)
    section = card_of_folder(tmp_path).values["data"]
    assert section["format"] == format
    assert list(section["splits"]) == ["train", "val"][: len(splits)]
    last = list(section["splits"].values())[-1]
    assert last["annotations"].startswith(splits[-1])
    assert last.get("images", splits[-1]) == splits[-1]


@pytest.mark.parametrize("format", HEADS)
def test_annotations_without_images_are_told(format, tmp_path):
    name, text = HEADS[format]
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=rf"(?s)is not recognized.*{format}: .*there are no images in the folder"):
        card_of_folder(tmp_path)


def test_long_files_of_cvat_take_no_time(tmp_path):
    write_image(tmp_path / "a.jpg")
    (tmp_path / "a.xml").write_text("<annotations>" + "<image " * 200_000)
    start = time.process_time()
    assert card_of_folder(tmp_path).values["data"]["format"] == "cvat"
    assert time.process_time() - start < 1


def test_subsets_of_one_cvat_file_are_splits(tmp_path):
    write_image(tmp_path / "images" / "a.jpg")
    images = "".join(f'<image id="0" name="a.jpg" subset="{name}"></image>' for name in ("Train", "Validation"))
    (tmp_path / "annotations.xml").write_text(f"<annotations>{images}</annotations>")
    splits = card_of_folder(tmp_path).values["data"]["splits"]
    assert {split: options["subset"] for split, options in splits.items()} == {"train": "Train", "val": "Validation"}


def test_tables_of_hugging_face_need_no_image_files(tmp_path):
    for split in ("train", "test"):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / f"{split}-00000-of-00001.parquet").touch()
    section = card_of_folder(tmp_path).values["data"]
    assert section["format"] == "huggingface"
    assert section["splits"]["test"] == {"path": "data/test-00000-of-00001.parquet"}


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("cvat_coins", "cvat"),
        ("via_car_damage", "via"),
        ("labelme_grapes_iteam1", "labelme"),
        ("label_studio_chicory", "label_studio"),
    ],
)
def test_real_exports_of_tools_are_recognized(name, format):
    assert card_of_folder(real_data(f"annotation-formats/{name}")).values["data"]["format"] == format
