"""The rules by which `visionkit fit CARD` makes a recipe.

`make_plan` is the entry. Each other function is one rule: it yields settings with their reasons, from the facts of the
card, the machine and the time. The numbers of short runs without a GPU were measured, see docs/results.md; the others
are conventions.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from visionkit.cli.automatic.machine import RANDOM_BACKBONE, Machine
from visionkit.cli.automatic.plan import Plan, Setting
from visionkit.data.stats.card_facts import CardFacts
from visionkit.errors import ConfigError
from visionkit.ops.anchor_clusters import cluster_shapes
from visionkit.ops.anchor_iou import best_anchor_iou

Settings = Iterator[Setting]

TRAINING_SHARE = 0.8
"""Share of the given time that is training; the rest is start-up and validation."""

FEW_IMAGES = 1000
"""Number of images below which pretrained stages are frozen: few images would make general features worse."""

FROZEN_STAGES = 2
"""Number of stages that are frozen then."""

SHORT_RUN = 3000
"""Number of training images, repeated ones included, below which the whole backbone is frozen: the layers after it
learn in fewer steps on features that stay the same, and a step takes half the time."""

BACKBONE_LR = 0.1
"""Ratio of the learning rate of a pretrained backbone to that of the layers after it."""


class Case(NamedTuple):
    """What the rules know.

    Attributes:
        facts: facts of the card.
        machine: what the machine can do.
        minutes: time for training; None without a limit.
        model: name of the model that is asked for; None if the rules choose one.
        side: short side of the input that is asked for; None if the rules choose it.
        validates: whether the card allows a validation; that of Pascal VOC's trainval does not.
    """

    facts: CardFacts
    machine: Machine
    minutes: float | None = None
    model: str | None = None
    side: int | None = None
    validates: bool = True

    def views(self, megapixels: float, cost: float) -> float:
        """Return the number of training images, repeated ones included, for which the time suffices.

        Args:
            megapixels: size of the network's input.
            cost: time of the whole network as a multiple of that of its backbone.
        """
        if self.minutes is None or not self.machine.speed:
            return math.inf
        return 60 * self.minutes * TRAINING_SHARE * self.machine.speed / (megapixels * cost)


ASKED_FOR = "as was asked for"
"""Reason of a setting that follows the command line."""

MODELS = {
    "detection": ("faster_rcnn", "mask_rcnn", "fast_rcnn", "rcnn", "rfcn", "retinanet", "ssd", "yolov1", "yolov2"),
    "segmentation": ("unet",),
    "classification": ("classifier",),
}
"""Models for which recipes are made, by task; the first ones by themselves."""


def make_plan(case: Case) -> Plan:
    """Return the recipe for a card.

    Raises:
        ConfigError: there are no rules for the model that is asked for.

    Example:
        >>> import numpy as np
        >>> from visionkit.cli.automatic.machine import Machine
        >>> from visionkit.cli.automatic.rules import Case, make_plan
        >>> from visionkit.data.stats.card_facts import CardFacts
        >>> facts = CardFacts("segmentation", 90, 30, ["cell", "membrane"], np.array([80, 10]), (512, 512))
        >>> make_plan(Case(facts, Machine(backbone="resnet18"))).recipe
        'unet_few_images'
    """
    if case.model is not None and case.model not in MODELS[case.facts.task]:
        known = ", ".join(MODELS[case.facts.task])
        raise ConfigError(
            f"model.name={case.model}: without a recipe, {case.facts.task} takes {known}\n"
            f"name a recipe before the card: visionkit list recipes"
        )
    plan = {"detection": _detection, "segmentation": _segmentation, "classification": _classification}
    made = plan[case.facts.task](case)
    return Plan(made.recipe, made.reason, [*made.settings, *_holdout(case), *_precision(case.machine)])


# Detection

COST, MASK_COST = 1.0, 1.35
"""Time of a training step of a detector with a frozen backbone, in steps that train its backbone alone; also with masks
of the objects."""

SHORT_SIDE_CPU, SHORT_SIDE_GPU = (256, 320, 480), (480, 640, 800)
"""Smallest, usual and largest short side of the input of a detector, without and with a GPU."""

SMALL_OBJECTS = 0.1
"""Share of the objects that count as the small ones, whose size decides on the size of the input."""

SMALL_SIDE = 20
"""Side in pixels of the input that the small objects should have."""

LEAST_VIEWS, ENOUGH_VIEWS = 800, 1600
"""Number of training images, repeated ones included, that a detector needs to learn to localize, and the number from
which inputs larger than usual are better than more steps. In 5 minutes, the AP50 of potholes was 25 with 1,200 images
of 480 pixels and 51 with 2,200 of 320; that of 50 images of blood cells was 89.2 with 320 pixels and 87.6 with 256.
"""

STEP = 32
"""The sides of inputs are multiples of this."""

FEW_IMAGES_DETECTORS = ("faster_rcnn", "mask_rcnn")
"""Detectors with a recipe of their own for few images."""


def _detection(case: Case) -> Plan:
    name, reason = _detector(case)
    side, why = _input_side(case, MASK_COST if name == "mask_rcnn" else COST)
    settings = [*_backbone(case, _megapixels(case.facts, side)), *_detector_settings(name, case, side, why)]
    recipe = f"{name}_few_images" if name in FEW_IMAGES_DETECTORS else f"{name}_efficientnet_lite0"
    return Plan(recipe, reason, [*settings, *_detection_batch(case.machine)])


def _detector(case: Case) -> tuple[str, str]:
    """Return the name of the detector, and why it was chosen."""
    if case.model is not None:
        return case.model, ASKED_FOR
    if case.facts.has_masks:
        return "mask_rcnn", "the objects have masks, so boxes and masks are predicted"
    return "faster_rcnn", "the most accurate detector for few images"


def _detector_settings(name: str, case: Case, side: int, why: str) -> Settings:
    """Yield the input size, and the anchors and heads that depend on it."""
    if name in ("ssd", "yolov2"):
        yield Setting("preprocess.size", [side, side], why)
        yield from _default_boxes(case.facts) if name == "ssd" else _anchor_shapes(case.facts, side)
    elif name != "yolov1":  # its grid is for the size of its recipe
        yield Setting("preprocess.short_side", side, why)
        yield Setting("preprocess.long_side", 2 * side, "twice the short side")
    if name in FEW_IMAGES_DETECTORS:
        yield from _anchors(case.facts, side)


def _input_side(case: Case, cost: float) -> tuple[int, str]:
    """Return the short side of a detector's input, and why it was chosen."""
    if case.side is not None:
        return case.side, ASKED_FOR
    smallest, usual, largest = SHORT_SIDE_GPU if case.machine.has_gpu else SHORT_SIDE_CPU
    areas = case.facts.shapes.prod(axis=1)
    small = float(np.quantile(np.sqrt(areas), SMALL_OBJECTS)) if len(areas) else 1.0
    wanted = _multiple(SMALL_SIDE / max(small, 1e-3))
    side = min(max(wanted, usual), largest)
    reason = f"small objects have {small * side:.0f} pixels there; {usual} is usual"
    while side > smallest and case.views(_megapixels(case.facts, side), cost) < _needed_views(side, usual):
        side -= STEP
        reason = f"larger inputs would leave too few steps in {case.minutes:g} minutes"
    return side, reason


def _needed_views(side: int, usual: int) -> int:
    return ENOUGH_VIEWS if side > usual else LEAST_VIEWS


def _anchors(facts: CardFacts, side: int) -> Settings:
    """Yield anchors from k-means over the objects if the usual ones do not fit."""
    shapes = torch.from_numpy(facts.shapes) * side
    usual = _coverage(shapes, USUAL_SIZES, [0.5, 1.0, 2.0])
    if len(shapes) < MIN_CLUSTERED or usual >= COVERED:
        return
    small = float(shapes.prod(dim=1).sqrt().quantile(0.02))
    first = min(max(2 ** round(math.log2(max(small, 8))), 8), 32)
    added = [size * first // USUAL_SIZES[0] for size in USUAL_SIZES] if first < USUAL_SIZES[0] else []
    same_area = shapes / shapes.prod(dim=1, keepdim=True).sqrt()
    clusters = cluster_shapes(same_area, 3).shapes
    ratios = sorted({round(float(height / width), 2) for width, height in clusters})
    better = _coverage(shapes, [*added, *USUAL_SIZES], ratios)
    if better > usual:
        reason = f"k-means: they reach {better:.0%} of the objects with IoU 0.5, the usual ones {usual:.0%}"
        if added:
            sizes = [list(pair) for pair in zip(added, USUAL_SIZES, strict=True)]
            yield Setting("model.anchors.sizes", sizes, reason)
        yield Setting("model.anchors.aspect_ratios", ratios, reason)


USUAL_SIZES = [32, 64, 128, 256]
"""Sizes of the anchors of the recipes, by level. Smaller ones are added, not put in their place: large objects are the
easier ones to find."""

COVERED = 0.95
"""Share of the objects that an anchor reaches with IoU 0.5, from which the usual anchors are kept."""

MIN_CLUSTERED = 10
"""Smallest number of objects for k-means."""


def _coverage(shapes: torch.Tensor, sizes: list[int], ratios: list[float]) -> float:
    """Return the share of the objects that an anchor reaches with IoU 0.5."""
    if not len(shapes):
        return 1.0
    anchors = torch.tensor([[size / ratio**0.5, size * ratio**0.5] for size in sizes for ratio in ratios])
    return float((best_anchor_iou(shapes.float(), anchors) >= 0.5).float().mean())


def _default_boxes(facts: CardFacts) -> Settings:
    """Yield the scales of SSD's default boxes from the sizes of the objects."""
    if len(facts.shapes) >= MIN_CLUSTERED:
        sides = np.sqrt(facts.shapes.prod(axis=1))
        low, high = (float(quantile) for quantile in np.quantile(sides, [0.05, 0.95]))
        scales = [round(min(max(low, 0.05), 0.3), 2), round(min(max(high, 0.4), 0.9), 2)]
        yield Setting("model.scales", scales, f"most objects have {low:.0%} to {high:.0%} of the image's side")


def _anchor_shapes(facts: CardFacts, side: int) -> Settings:
    """Yield the five anchors of YOLOv2, by k-means over the objects."""
    if len(facts.shapes) >= MIN_CLUSTERED:
        short = facts.short_side / max(facts.median_size)  # of the letterboxed image, as a share of its side
        found = cluster_shapes(torch.from_numpy(facts.shapes) * side * short, 5)
        shapes = [[round(length, 1) for length in shape] for shape in found.shapes.tolist()]
        yield Setting("model.anchor_shapes", shapes, f"k-means: mean IoU {found.mean_iou:.2f} with the objects")


def _detection_batch(machine: Machine) -> Settings:
    if machine.has_gpu:
        size = 16 if machine.gpu_memory >= 40 else 8 if machine.gpu_memory >= 15 else 4
        yield Setting("data.batch_size", size, f"fits into {machine.gpu_memory:.0f} GB")
        yield Setting("optimizer.base_batch_size", size, "the learning rate is not scaled with the batch")


# Segmentation

USUAL_SIDE = 320
"""Short side to which large images are reduced: crops of large images show too little of their surroundings."""

THINNEST = 8.0
"""Thickness in pixels that the regions of the thinnest class should keep."""

LEAST_REDUCTION = 0.9
"""Scale from which images keep their size."""

CROP = 256
"""Side in pixels of the crops that the network gets in training."""

SHORT_CROPS_RUN = 8000
"""`SHORT_RUN` of segmentation, in crops. In 5 minutes, about 4,000 crops, the mIoU of 50 images of CamVid was 51.4 with
trained stages from stride 8 on and 58.5 with all of them frozen, of all 367 images 49.1 and 60.9."""


def _segmentation(case: Case) -> Plan:
    reason = "the card has class masks, and the network trains fast"
    return Plan("unet_few_images", reason, [*_backbone(case, CROP**2 / 1e6, SHORT_CROPS_RUN), *_scale(case.facts)])


def _scale(facts: CardFacts) -> Settings:
    """Yield the scale of large images, and the crops of the images that have this size after it."""
    scale = round(max(USUAL_SIDE / facts.short_side, THINNEST / facts.thinnest), 2)
    if scale > LEAST_REDUCTION:
        return
    crop = round(CROP / scale)
    yield Setting(
        "preprocess.scale",
        scale,
        f"crops show more of the image; its thinnest class keeps {scale * facts.thinnest:.0f} pixels",
    )
    augment = [
        {"name": "PadIfNeeded", "min_height": crop, "min_width": crop, "border_mode": 0, "fill": [124, 116, 104]},
        {"name": "RandomCrop", "height": crop, "width": crop},
        {"name": "HorizontalFlip", "p": 0.5},
    ]
    yield Setting("data.augment", augment, f"crops of {crop} pixels have {CROP} after scaling")


# Classification


CROP_SIDES = (224, 192, 160, 128, 96)
"""Sides of the input of a classifier, the one of its pretrained weights first."""

FORWARD_SHARE = 0.3
"""Time of the forward pass of a backbone, as a share of that of a forward and a backward pass."""

LONGEST, NEARLY_SQUARE = 2.0, 1.15
"""Largest ratio of the sides of the input of a classifier, and the ratio up to which it is square."""

FEATURES_SHARE = 0.4
"""Largest share of the given time in which the features are computed."""

IMBALANCE = 1.5
"""Ratio of the numbers of images of the largest and the smallest class above which classes are weighted. With ratios
of 3, 10 and 30, a head on fixed features gained 1, 3 and 5 points on balanced images, and lost none on images with the
same proportions."""

FINETUNED_EXAMPLES = 200
"""Number of images of the median class from which all layers are trained."""

FINETUNED_EPOCHS = 4
"""Number of epochs that the time must suffice for, to train all layers."""


def _classification(case: Case) -> Plan:
    if case.machine.backbone is None:
        return _classification_from_random(case)
    sides = CROP_SIDES if case.side is None else (case.side, case.side)
    finetuned = [side for side in sides[:-1] if _suffices(case, side, FINETUNED_EPOCHS * case.facts.images)]
    per_class = _examples_per_class(case.facts)
    if per_class >= FINETUNED_EXAMPLES and finetuned:
        reason = f"{per_class:g} images of a class are enough to train all layers"
        settings = [*_classifier(case), *_crop(case, finetuned[0])]
        return Plan("transfer_finetune", reason, settings)
    reason = f"only the head is trained, on features that are computed once: a class has {per_class:g} images"
    passes = FORWARD_SHARE * (case.facts.images + case.facts.validation_images) * TRAINING_SHARE / FEATURES_SHARE
    whole = _whole_shape(case.facts)
    side = next((side for side in sides if _suffices(case, side, passes, whole)), sides[-1])
    settings = [*_classifier(case), *_whole_image(case, side)]
    return Plan("transfer_head", reason, settings)


def _suffices(case: Case, side: int, views: float, shape: tuple[float, float] = (1.0, 1.0)) -> bool:
    """Return whether the time suffices for a number of training images of `shape` times `side` pixels."""
    return case.views(math.prod(shape) * side**2 / 1e6, 1.0) >= views


def _whole_shape(facts: CardFacts) -> tuple[float, float]:
    """Return height and width of the usual image as multiples of its short side."""
    height, width = (min(side / max(facts.short_side, 1), LONGEST) for side in facts.median_size)
    return (height, width) if max(height, width) > NEARLY_SQUARE else (1.0, 1.0)


def _examples_per_class(facts: CardFacts) -> float:
    """Return the number of images of the median class that has images."""
    counts = facts.examples[facts.examples > 0]
    return float(np.median(counts)) if len(counts) else 0.0


def _classification_from_random(case: Case) -> Plan:
    """Return a recipe for a network without pretrained weights, whose layers all need the same learning rate."""
    same = "no stage is pretrained"
    settings = [
        *_classifier(case),
        Setting("optimizer.backbone_lr_factor", 1.0, same),
        Setting("optimizer.stage_lr_decay", 1.0, same),
    ]
    return Plan("transfer_finetune", "there are no pretrained weights, so all layers are trained", settings)


def _classifier(case: Case) -> Settings:
    """Yield the backbone and the labels of a classifier."""
    yield from _pretrained(case.machine)
    if case.machine.backbone is not None and case.machine.backbone.startswith("timm/"):
        yield Setting("model.backbone.pre_logits", True, "the layers before the pretrained classifier are used too")
    if case.facts.multi_label:
        yield Setting("model.multi_label", True, "an image can have several classes")
    else:
        yield from _class_weights(case.facts)


def _class_weights(facts: CardFacts) -> Settings:
    counts = facts.examples[facts.examples > 0]
    if len(counts) and counts.max() > IMBALANCE * counts.min():
        reason = f"the largest class has {counts.max() / counts.min():.1f} times as many images as the smallest"
        yield Setting("loss.class_weights", "balanced", reason)


def _crop(case: Case, crop: int) -> Settings:
    yield Setting("preprocess.short_side", crop * 8 // 7, "the crop is 7/8 of it")
    yield Setting("preprocess.crop", crop, _reason_of_size(case, crop))


def _whole_image(case: Case, side: int) -> Settings:
    size = [round(side * ratio) for ratio in _whole_shape(case.facts)]
    why = "whole images of the usual shape: what decides on the class can be at the ends, which a crop leaves out"
    yield Setting("preprocess.size", size, f"{why}; {_reason_of_size(case, side)}")


def _reason_of_size(case: Case, side: int) -> str:
    if case.side is not None:
        return ASKED_FOR
    if side == CROP_SIDES[0]:
        return "the size of the pretrained weights"
    return f"larger inputs take too long for {case.minutes:g} minutes"


# All tasks


def _backbone(case: Case, megapixels: float, short_run: float = SHORT_RUN) -> Settings:
    """Yield the backbone, and how much of it trains.

    Args:
        case: what the rules know.
        megapixels: size of the network's input.
        short_run: number of training images, repeated ones included, below which all of it is frozen.
    """
    yield from _pretrained(case.machine)
    if case.machine.backbone is None:
        return
    if case.facts.images < FEW_IMAGES and case.views(megapixels, 1.0) < short_run:
        reason = f"{case.minutes:g} minutes are short, and layers on fixed features need fewer and shorter steps"
        yield Setting("model.backbone.frozen_stages", "all", reason)
        return
    if case.facts.images < FEW_IMAGES:
        reason = "first stages are general: freezing them saves time, and few images would make them worse"
        yield Setting("model.backbone.frozen_stages", FROZEN_STAGES, reason)
    else:
        yield Setting("model.backbone.frozen_stages", 0, f"{case.facts.images} images are enough to train all layers")
    yield Setting("optimizer.backbone_lr_factor", BACKBONE_LR, "pretrained layers need to change less than new ones")


def _pretrained(machine: Machine) -> Settings:
    """Yield a pretrained backbone, or one that is trained from random initialization if there are no weights."""
    if machine.backbone is None:
        reason = "no ImageNet weights are on disk or can be downloaded; training needs many more images and steps"
        yield Setting("model.backbone.name", machine.asked_for or RANDOM_BACKBONE, reason)
        yield Setting("model.backbone.weights", "none", "see model.backbone.name")
        yield Setting("model.backbone.batch_norm", "trained", "see model.backbone.name")
        yield Setting("model.backbone.frozen_stages", 0, "see model.backbone.name")
    else:
        device = "suits a GPU" if machine.has_gpu else "is fast without a GPU"
        yield Setting("model.backbone.name", machine.backbone, f"{device}, and its ImageNet weights are available")


HELD_OUT = 0.2
"""Share of the training images that are held out for validation if the card has no validation images."""

LEAST_IMAGES = 5
"""Number of training images from which one can be held out."""


def _holdout(case: Case) -> Settings:
    if case.validates and not case.facts.validation_images and case.facts.images >= LEAST_IMAGES:
        reason = "the card has no val split, and the best checkpoint is chosen on images that are not trained on"
        yield Setting("data.holdout", {"fraction": HELD_OUT, "seed": 0}, reason)


def _precision(machine: Machine) -> Settings:
    if machine.has_bf16:
        yield Setting("trainer.precision", "bf16-mixed", "the GPU computes in bfloat16")


def _megapixels(facts: CardFacts, short_side: int) -> float:
    """Return the size of an input with the given short side and the median aspect ratio."""
    return short_side**2 * max(facts.median_size) / max(facts.short_side, 1) / 1e6


def _multiple(side: float) -> int:
    """Return the next multiple of `STEP`."""
    return math.ceil(side / STEP) * STEP
