"""Damaged data cards, for `visionkit data check`, `download` and `anchors`."""

from unittest import mock

from PIL import Image

from tests.helpers.voc_files import xml
from tests.robustness.boundary import command
from tests.robustness.cases import Kind
from tests.robustness.cases.archives import zip_file
from tests.robustness.cases.coco import INSTANCES
from tests.robustness.cases.csv_and_folders import TABLE
from tests.robustness.cases.masks import mask
from tests.robustness.cases.recipes import damaged
from tests.robustness.mutations import as_json

CARDS = {
    "coco": "annotations: i.json, masks: true, on_bad_box: drop",
    "csv": "annotations: t.csv, images: '', on_bad_file: skip",
    "folder": "path: d",
    "masks": "images: masks, masks: more, values: {0: road, 1: sky}, folds: 2, fold: 0, held_out: true",
    "voc": "image_set: train, folder: v",
    "shapes": "split: val, count: 4, size: 32, max_objects: 1, min_object: 0.4, semantic: false",
}
CARD = """
data:
  format: %s
  root: .
  splits:
    train: &same {%s}
    val: {<<: *same}
    test: [{%s}]
  batch_size: 2
  num_workers: 0
  min_visibility: 0.1
  sampling: shuffled
  augment: [{name: HorizontalFlip, p: 0.5}]
  download:
    - {url: "http://127.0.0.1:9/a.zip", extract_to: x, extracted_bytes: 1000000}
for:
  yolov2: {model: {anchor_shapes: [[20.5, 19.7]]}}
"""


def prepare(rng, folder):
    write_data(folder)
    (folder / "a.zip").write_bytes(zip_file(rng))
    data_format = rng.choice(list(CARDS))
    text = card(data_format)
    if rng.random() < 0.2:
        text = text.replace("  batch_size", "  holdout: {fraction: 0.5, seed: 1}\n  batch_size")
    (folder / "card.yaml").write_bytes(damaged(rng, text))
    action = rng.choice(["check", "check", "check", "download", "anchors"])
    bounds = [f"data.splits.{split}.{key}" for split in ("train", "val") for key in ("count=4", "size=32")]
    count = ["--count", "1"] if action == "anchors" else []
    return [action, "card.yaml", *count, *(bounds if data_format == "shapes" else [])]


def card(data_format):
    """Return a card of a format."""
    return CARD % (data_format, CARDS[data_format], CARDS[data_format])


def write_data(folder):
    """Write a small dataset of each format."""
    for name in ("sub", "d/cat", "d/dog", "masks", "more", "v/Annotations", "v/JPEGImages", "v/ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    for name in ("a.png", "c.png", "sub/b.png", "d/cat/a.png", "d/dog/b.png", "masks/1.png", "masks/2.png"):
        Image.new("RGB", (8, 6), 90).save(folder / name)
    for name in ("more/1.png", "more/2.png"):
        (folder / name).write_bytes(mask("L"))
    Image.new("RGB", (60, 40)).save(folder / "v" / "JPEGImages" / "a.jpg")
    (folder / "v" / "Annotations" / "a.xml").write_text(xml())
    (folder / "v" / "ImageSets" / "Main" / "train.txt").write_text("a\n")
    (folder / "i.json").write_text(as_json(INSTANCES))
    (folder / "t.csv").write_text(TABLE)


def run(action, *words):
    with mock.patch("socket.getaddrinfo", side_effect=OSError("tests have no network")):  # a lookup would wait
        command(["data", action, *words])


KIND = Kind(prepare, run)
