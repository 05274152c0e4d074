"""Reading the data of a card, as training does: all batches, with their targets checked."""

from pathlib import Path

import numpy as np
import torch
import yaml
from pycocotools import mask as rle

from tests.robustness.boundary import Repaired, command
from visionkit.cli.config.build import build_data

CARD = "card.yaml"


def write_card(folder, **data):
    """Write a data card for the files in a folder."""
    (folder / CARD).write_text(yaml.safe_dump({"data": {"root": ".", **data}}))


def read_card(required=None):
    """Read all batches of the splits of the card in this folder."""
    data = build_data({"data": {"num_workers": 0, **yaml.safe_load(Path(CARD).read_text())["data"]}})
    data.splits.required = required
    report = {}
    for split in data.splits:
        data.tested_split = split
        for batch in data._evaluation_loader(split):
            for image, target in zip(batch.images, batch.targets, strict=True):
                check(image, target, len(data.class_names))
        report |= data.dataset(split).report
    if "train" in data.splits:
        for batch in data.train_dataloader():
            assert len(batch.images) == len(batch.targets)
    if report:
        raise Repaired(str(report))


def check(image, target, num_classes):
    """Check that an image and its target fit each other."""
    assert image.dtype == torch.uint8
    height, width = image.shape[1:]
    assert min(height, width) > 0
    if "boxes" in target and len(target["boxes"]):
        boxes, labels = target["boxes"], target["labels"]
        assert boxes.isfinite().all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert boxes.min() >= 0
        assert (boxes[:, 2:] <= torch.tensor([width, height])).all()
        assert labels.min() >= 0
        assert labels.max() < num_classes
    if target.get("semantic") is not None:
        assert tuple(target["semantic"].shape) == (height, width)
        values = np.unique(target["semantic"])
        assert ((values < num_classes) | (values == 255)).all()
    for mask in target.get("masks") or []:
        assert mask["size"] == [height, width]
        assert 0 <= rle.area(mask) <= height * width


def run_card(way):
    """Read the card in this folder: all batches, or with `visionkit data check`."""
    if way == "check":
        command(["data", "check", CARD])
    else:
        read_card()
