"""The real datasets through the command line: one epoch, evaluation, the dataset's ids in the results."""

import csv
import json
from collections import Counter

import numpy as np
import pytest
import yaml
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tests.helpers.real_data import real_data
from visionkit.cli.config.build import build_data
from visionkit.cli.config.compose import compose
from visionkit.cli.main import main
from visionkit.data.datasets.image_path import image_path

RECIPE = {
    "task": "detection",
    "model": {
        "name": "faster_rcnn",
        "backbone": {"name": "resnet18", "weights": "none"},
        "fpn_channels": 16,
        "head_channels": 16,
        "roi": {"batch_size_per_image": 16},
        "rpn": {"post_nms_top_n_test": 50},
        "nms": {"score_threshold": 0.0, "max_detections": 5},
    },
    "preprocess": {"short_side": 64, "long_side": 96},
    "optimizer": {"lr": 0.01, "base_batch_size": 8},
    "schedule": {"name": "constant", "warmup_steps": 10},
    "trainer": {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False},
}
COCO_MINI = {
    "format": "coco",
    "splits": {
        split: {"annotations": f"annotations/instances_{split}2017.json", "images": f"{split}2017", "masks": True}
        for split in ("train", "val")
    },
}
SETS = {
    "coco-mini": (COCO_MINI, "coco"),
    "voc2007-mini": ({"format": "voc", "splits": {s: {"image_set": s} for s in ("train", "val")}}, "voc07"),
}


RESULT_FILES = ("predictions.json", "mask_predictions.json")


@pytest.mark.parametrize("name", SETS)
def test_one_epoch_and_its_evaluation(name, tmp_path, monkeypatch):
    data, metric = SETS[name]
    card = {**data, "root": str(real_data(name)), "batch_size": 8, "num_workers": 2}
    card["augment"] = [{"name": "RandomSizedBBoxSafeCrop", "height": 256, "width": 256, "p": 0.5}]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({**RECIPE, "data": card, "evaluation": {"metric": metric}}))
    assert main(["fit", "run.yaml"]) == 0
    assert main(["validate", "runs/run/1/best.ckpt", "--output", "scores"]) == 0
    rows = json.loads((tmp_path / "scores" / "predictions.json").read_text())
    metrics = json.loads((tmp_path / "scores" / "metrics.json").read_text())
    assert metrics["split"] == "val"
    assert rows
    if name == "coco-mini":
        truth = json.loads((real_data(name) / "annotations" / "instances_val2017.json").read_text())
        assert {row["category_id"] for row in rows} <= {category["id"] for category in truth["categories"]}
        assert {row["image_id"] for row in rows} == {image["id"] for image in truth["images"]}
        assert {"AP", "APs", "AR100"} <= set(metrics["overall"])
        assert "person" in metrics["per_class"]["AP"]
    else:
        names = (real_data(name) / "ImageSets" / "Main" / "val.txt").read_text().split()
        assert {row["image_id"] for row in rows} == set(names)
        assert "AP50" in metrics["overall"]
        assert "person" in metrics["per_class"]["AP50"]


def test_masks_of_the_written_file_score_as_pycocotools_says(tmp_path, monkeypatch):
    """Both results files of a briefly trained Mask R-CNN have the same metrics, also by size, with pycocotools."""
    monkeypatch.chdir(tmp_path)
    root = real_data("coco-mini")
    model = {**RECIPE["model"], "name": "mask_rcnn", "mask_channels": 16}
    recipe = {**RECIPE, "model": model, "data": {**COCO_MINI, "root": str(root), "batch_size": 4, "num_workers": 2}}
    recipe["evaluation"] = {"metric": "coco_masks"}
    recipe["trainer"] = {**RECIPE["trainer"], "limit_train_batches": 2}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(recipe))
    assert main(["fit", "run.yaml"]) == 0
    assert main(["validate", "runs/run/1/last.ckpt", "--output", "scores"]) == 0
    metrics = json.loads((tmp_path / "scores" / "metrics.json").read_text())
    truth = COCO(root / "annotations" / "instances_val2017.json")
    boxes, masks = (truth.loadRes(str(tmp_path / "scores" / name)) for name in RESULT_FILES)
    assert len(truth.imgs) == 36
    heights = {image["id"]: image["height"] for image in truth.imgs.values()}
    assert all(row["segmentation"]["size"][0] == heights[row["image_id"]] for row in masks.anns.values())
    for prefix, kind, found in (("", "bbox", boxes), ("mask_", "segm", masks)):
        reference = COCOeval(truth, found, kind)
        reference.evaluate()
        reference.accumulate()
        reference.summarize()
        names = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
        own = [metrics["overall"][prefix + name] for name in names]
        assert own == pytest.approx(reference.stats.tolist(), abs=1e-6)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_camvids_pixels_are_those_of_its_table(split):
    """The README beside the images prints the share of each class, and of void, in percent."""
    root = real_data("camvid")
    table = [line.split("|")[1:-1] for line in (root / "README.md").read_text().splitlines() if line.startswith("| ")]
    row = next([cell.strip() for cell in cells] for cells in table if cells[0].strip() == split)
    data = build_data(compose(["camvid", f"data.root={root}"]).values)
    reader = data.dataset(split)
    assert len(reader) == int(row[1])
    pixels = len(reader) * 480 * 360
    counts = data.pixel_counts(split).counts
    shares = [*counts, pixels - counts.sum()]
    assert [f"{100 * share / pixels:.2f}" for share in shares] == row[3:]
    sample = reader[0]
    assert sample.semantic.shape == sample.size == (360, 480)


def test_isbis_255_is_the_cell_of_which_there_is_most():
    root = real_data("isbi-membrane")
    data = build_data(compose(["isbi_membrane", f"data.root={root}"]).values)
    parts = [data.dataset(split) for split in ("train", "val")]
    cells = np.array([(part.semantic(index) == 1).mean() for part in parts for index in range(len(part))])
    assert [len(part) for part in parts] == [24, 6]
    assert round(100 * cells.mean()) == 78
    assert (round(100 * cells.min()), round(100 * cells.max())) == (73, 83)
    assert data.class_names == ["membrane", "cell"]


@pytest.fixture(scope="module")
def clothes():
    """The data of the three cards of Clothing Co-Parsing, by name."""
    root = f"data.root={real_data('ccp-multitask')}"
    return {kind: build_data(compose([f"ccp_{kind}", root]).values) for kind in ("boxes", "masks", "tags")}


@pytest.mark.parametrize(("split", "images"), [("train", 90), ("val", 30)])
def test_boxes_masks_and_tags_of_clothes_have_the_same_images(clothes, split, images):
    readers = [data.dataset(split) for data in clothes.values()]
    files = [[image_path(reader, index) for index in range(len(reader))] for reader in readers]
    assert len(set(files[0])) == images
    assert all(sorted(paths) == sorted(files[0]) for paths in files)
    assert all(path.parent.name == split for path in files[0])


def test_clothes_as_their_readme_describes_them(clothes):
    boxes, masks, tags = ([data.dataset(split) for split in ("train", "val")] for data in clothes.values())
    assert sum(len(part.annotation(index)) for part in boxes for index in range(len(part))) == 633
    assert [part.report for part in boxes] == [{}, {}]
    classes = (real_data("ccp-multitask") / "classes_9.txt").read_text().split()
    assert clothes["masks"].class_names == classes
    counts = sum(clothes["masks"].pixel_counts(split).counts for split in ("train", "val"))
    assert round(counts[0] / counts.sum(), 3) == 0.769
    assert [part.report for part in masks] == [{}, {}]
    assert [sum(len(part.tags(index)) for index in range(len(part))) for part in tags] == [622, 199]
    assert [part.report for part in tags] == [{"labels of other classes skipped": count} for count in (26, 8)]


def test_tags_of_clothes_are_those_of_at_least_five_training_images(clothes):
    with (real_data("ccp-multitask") / "image_labels.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    images = Counter(tag for row in rows for tag in row["tags"].split(";"))
    assert clothes["tags"].class_names == sorted(tag for tag, count in images.items() if count >= 5)
    train = clothes["tags"].dataset("train")
    found = Counter(clothes["tags"].class_names[tag] for index in range(len(train)) for tag in train.tags(index))
    assert found == {tag: count for tag, count in images.items() if count >= 5}


def test_the_data_check_accepts_the_tags_of_clothes(capsys):
    assert main(["data", "check", "data/ccp_tags.yaml", f"data.root={real_data('ccp-multitask')}"]) == 0
    assert "labels of other classes skipped: 26" in capsys.readouterr().out
