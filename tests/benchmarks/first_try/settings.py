"""The settings of the benchmark: data, metrics, and what `plain` and `best` run on them. Edit `best` here."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.benchmarks.first_try import cards
from tests.benchmarks.first_try.cards import Card

FASTER_RCNN, MASK_RCNN, UNET = (f"{name}_few_images" for name in ("faster_rcnn", "mask_rcnn", "unet"))
FINE_TUNED = "transfer_finetune model.backbone=timm/tf_efficientnet_lite0"

BOXES, VOC_BOXES, MASKS = ("AP50", "AP"), ("AP50",), ("mask_AP", "mask_AP50", "AP")
PIXELS, CLASSES, TAGS = ("mIoU", "mean_dice", "pixel_accuracy"), ("top1", "mean_recall"), ("mAP", "F1")


@dataclass(frozen=True)
class Setting:
    """A dataset and how systems are compared on it.

    Attributes:
        card: returns the data card, see `tests.benchmarks.first_try.cards`.
        metrics: names in metrics.json; the table shows the first.
        plain: script in tests/benchmarks/plain, and its options.
        best: words of the best hand-made `visionkit fit`, without card, time and seed.
        split: the split that is scored.
    """

    card: Callable[[Path, Path], Card]
    metrics: tuple[str, ...]
    plain: str
    best: str
    split: str = "test"


SETTINGS = {
    "bccd": Setting(cards.bccd, BOXES, "detection", FASTER_RCNN),
    "bccd-50": Setting(cards.bccd_50, BOXES, "detection", FASTER_RCNN),
    "voc2007-mini": Setting(cards.voc2007_mini, VOC_BOXES, "detection metric=voc07", FASTER_RCNN, "val"),
    "coco-boxes": Setting(cards.coco_boxes, BOXES, "detection", FASTER_RCNN, "val"),
    "coco-masks": Setting(cards.coco_masks, MASKS, "detection masks=true metric=coco_masks", MASK_RCNN, "val"),
    "camvid-50": Setting(cards.camvid_50, PIXELS, "segmentation", UNET),
    "camvid": Setting(cards.camvid, PIXELS, "segmentation", UNET),
    "isbi-membrane": Setting(cards.isbi, PIXELS, "segmentation", UNET, "val"),
    "cifar10-20": Setting(partial(cards.cifar10, per_class=20), CLASSES, "classification", FINE_TUNED),
    "cifar10-100": Setting(partial(cards.cifar10, per_class=100), CLASSES, "classification", FINE_TUNED),
    "cifar10-1000": Setting(partial(cards.cifar10, per_class=1000), CLASSES, "classification", FINE_TUNED),
    "ccp-masks": Setting(cards.ccp_masks, PIXELS, "segmentation scale=0.5", UNET, "val"),
    "ccp-labels": Setting(cards.ccp_labels, TAGS, "classification", f"{FINE_TUNED} model.multi_label=true", "val"),
    "potholes": Setting(cards.potholes, BOXES, "detection", FASTER_RCNN, "val"),
}
"""In the order of the table. Where the scored split is `val`, visionkit chooses best.ckpt on the scored images; the
results then have the metrics of last.ckpt too."""

SYSTEMS = ("visionkit", "plain", "best")
