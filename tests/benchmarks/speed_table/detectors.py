"""The detectors beside torchvision's, with the same weights."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from pycocotools import mask as rle
from torch import Tensor, nn
from torchvision.models.detection import (
    fasterrcnn_resnet50_fpn,
    maskrcnn_resnet50_fpn,
    retinanet_resnet50_fpn,
    ssd300_vgg16,
)

from tests.benchmarks.speed_table.setting import (
    Setting,
    Variant,
    detached,
    inference_job,
    own_optimizer,
    peers_optimizer,
    training_job,
    variants,
)
from tests.benchmarks.speed_table.timing import Build, Job
from visionkit.backbones import create_backbone
from visionkit.data.batch import Batch
from visionkit.models.base import DetectionModel
from visionkit.models.detection import faster_rcnn, mask_rcnn, retinanet, ssd
from visionkit.models.detection.parts.torchvision_weights import PublishedDetector
from visionkit.models.load_model import load_strict
from visionkit.preprocessing.detection import DetectionPreprocessOptions
from visionkit.tasks import Detection

CLASSES, OBJECTS = 20, 8
SSD_SIZE = (300, 300)
PLAIN = {"image_mean": [0.0] * 3, "image_std": [1.0] * 3}


class Pair(NamedTuple):
    """A detector here and in torchvision, and the translation of torchvision's weights."""

    ours: Callable[[], DetectionModel]
    theirs: Callable[..., nn.Module]
    published: PublishedDetector


def _resnet() -> Any:
    return create_backbone("resnet50", weights="none")


DETECTORS = {
    "faster_rcnn": Pair(
        lambda: faster_rcnn.FasterRCNN(_resnet(), CLASSES), fasterrcnn_resnet50_fpn, faster_rcnn.PUBLISHED
    ),
    "mask_rcnn": Pair(lambda: mask_rcnn.MaskRCNN(_resnet(), CLASSES), maskrcnn_resnet50_fpn, mask_rcnn.PUBLISHED),
    "retinanet": Pair(lambda: retinanet.RetinaNet(_resnet(), CLASSES), retinanet_resnet50_fpn, retinanet.PUBLISHED),
    "ssd300": Pair(
        lambda: ssd.SSD(create_backbone("vgg16_atrous", weights="none"), CLASSES, variant="ssd300"),
        ssd300_vgg16,
        ssd.PUBLISHED,
    ),
}


def size_of(name: str, setting: Setting) -> tuple[int, int]:
    """Return height and width of a detector's images."""
    return SSD_SIZE if name == "ssd300" else setting.sizes.detector


def torchvisions(name: str, size: tuple[int, int]) -> nn.Module:
    """Return torchvision's detector, the same in every call."""
    torch.manual_seed(0)
    sides = {} if name == "ssd300" else {"min_size": size[0], "max_size": size[1]}
    return DETECTORS[name].theirs(weights=None, weights_backbone=None, num_classes=CLASSES + 1, **PLAIN, **sides)


def visionkits(name: str, size: tuple[int, int]) -> Detection:
    """Return the task of the same detector with the same weights."""
    pair = DETECTORS[name]
    model = pair.ours()
    load_strict(model, pair.published.translate(torchvisions(name, size).state_dict()), "torchvision")
    sides = {"size": list(size)} if name == "ssd300" else {"short_side": size[0], "long_side": size[1]}
    options = DetectionPreprocessOptions(**sides, mean=[0.0] * 3, std=[1.0] * 3)
    return Detection(model, [f"class {label}" for label in range(CLASSES)], preprocess=options)


def random_batch(number: int, size: tuple[int, int], device: torch.device, objects: int = OBJECTS) -> Batch:
    """Return images with objects at random places; every mask fills its box."""
    generator = torch.Generator().manual_seed(0)
    height, width = size
    images, targets = [], []
    for index in range(number):
        corners = torch.rand(objects, 2, generator=generator) * torch.tensor([width / 2, height / 2])
        sides = 20 + torch.rand(objects, 2, generator=generator) * 120
        boxes = torch.cat([corners, torch.minimum(corners + sides, torch.tensor([width, height]))], dim=1)
        masks = np.zeros((height, width, objects), np.uint8, order="F")
        for number_of_object, (left, top, right, bottom) in enumerate(boxes.int().tolist()):
            masks[top:bottom, left:right, number_of_object] = 1
        none = torch.zeros(objects, dtype=torch.bool)
        target = {
            "boxes": boxes,
            "labels": torch.randint(0, CLASSES, (objects,), generator=generator),
            "crowd": none,
            "difficult": none,
            "area": (boxes[:, 2:] - boxes[:, :2]).prod(1),
        }
        moved = {key: value.to(device) for key, value in target.items()}
        targets.append({**moved, "image_id": index, "size": size, "masks": rle.encode(masks)})
        images.append(torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator).to(device))
    return Batch(images, targets)


def contenders(name: str, setting: Setting) -> dict[str, Build]:
    """Return the contenders of a detector."""
    batch = random_batch(setting.batch, size_of(name, setting), setting.device)

    def theirs(variant: Variant) -> Job:
        network = torchvisions(name, size_of(name, setting)).to(setting.device, memory_format=variant.layout)
        if variant.is_compiled:
            network.backbone.compile()
        images, targets = peers_batch(batch, with_masks=name == "mask_rcnn")
        if setting.job == "inference":
            network.eval()
            return inference_job(setting, lambda: network(images))
        optimizer = peers_optimizer(network.train().parameters(), variant.fused)
        return training_job(setting, lambda: sum(network(images, targets).values()), optimizer)

    return {
        "visionkit": lambda: own_step(name, setting, batch),
        **variants(setting, "torchvision", theirs, "backbone compiled"),
    }


def own_step(name: str, setting: Setting, batch: Batch) -> Job:
    """Return a step of the task."""
    task = detached(visionkits(name, size_of(name, setting))).to(setting.device)
    if setting.job == "inference":
        task.eval()
        return inference_job(setting, lambda: task(batch.images))
    return training_job(setting, lambda: task.training_step(batch, 0), own_optimizer(task.train()))


def peers_batch(batch: Batch, with_masks: bool) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Return images and targets as torchvision takes them; its loaders decode masks and convert images to float."""
    targets = []
    for image, target in zip(batch.images, batch.targets, strict=True):
        masks = {"masks": _decoded(target["masks"], image)} if with_masks else {}
        targets.append({"boxes": target["boxes"], "labels": target["labels"] + 1, **masks})
    return [image / 255 for image in batch.images], targets


def _decoded(masks: Any, image: Tensor) -> Tensor:
    return torch.from_numpy(rle.decode(masks).transpose(2, 0, 1).copy()).to(image.device)
