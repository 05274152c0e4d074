"""Round trips of real datasets: boxes, classes, flags and masks survive what each format can hold."""

import pytest

from tests.helpers.export_source import write_as
from tests.helpers.real_data import real_data
from visionkit.data.card_splits import CardSplits
from visionkit.data.datasets.base import formats
from visionkit.data.export.base import writers
from visionkit.data.export.compare import SplitComparison, compare, open_split

COCO = {
    split: {"annotations": f"annotations/instances_{split}2017.json", "images": f"{split}2017"}
    for split in ("train", "val")
}
SETS = {
    "coco-mini": ("coco", COCO, 778, 766),
    "voc2007-mini": ("voc", {split: {"image_set": split} for split in ("train", "val")}, 880, 0),
    "bccd": ("voc", {split: {"image_set": split} for split in ("train", "val", "test")}, 4886, 0),
}
"""Format, splits, number of objects, and number of masks that are not just boxes."""


def open_real(name, masks=False):
    format_name, splits, *_ = SETS[name]
    if masks:
        splits = {split: {**options, **formats.options_for(format_name, "masks")} for split, options in splits.items()}
    card = CardSplits(format_name, str(real_data(name)), splits)
    return {split: card.dataset(split) for split in splits}


def differences(tables):
    return [(split, *row) for split, rows in tables.items() for row in rows if not row.agrees]


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("target", ["coco", "voc", "yolo", "labelme", "cvat"])
def test_what_is_read_back_agrees(name, target, tmp_path):
    plans, converted = write_as(target, open_real(name, masks=True), tmp_path / "out", link=False)
    tables = compare(plans, writers.get(target), converted)
    assert differences(tables) == []
    objects = sum(int(row.source) for rows in tables.values() for row in rows if row.quantity == "objects")
    crowds = {"coco-mini": 11}.get(name, 0)
    assert objects == SETS[name][2] - (crowds if target != "coco" else 0)


@pytest.mark.parametrize("name", SETS)
def test_boxes_survive_coco_voc_yolo_coco(name, tmp_path):
    source = open_real(name)
    datasets = source
    for step, target in enumerate(("coco", "voc", "yolo", "coco")):
        plans, converted = write_as(target, datasets, tmp_path / f"{step}_{target}")
        datasets = {plan.split: open_split(converted, plan.split, writers.get(target)) for plan in plans}
    first, _ = write_as("voc", source, tmp_path / "names")  # the plan of a format without ids and crowds
    tables = {plan.split: SplitComparison(plan, writers.get("yolo"), datasets[plan.split]).rows() for plan in first}
    assert differences(tables) == []
    assert sum(len(dataset) for dataset in datasets.values()) == sum(len(dataset) for dataset in source.values())
