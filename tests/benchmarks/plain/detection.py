"""Boxes: torchvision's Faster R-CNN on a feature pyramid of EfficientNet-Lite0; with masks=true Mask R-CNN."""

from typing import Any

import numpy as np
import torch
from pycocotools import mask as rle
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from tests.benchmarks.plain.detector import create
from tests.benchmarks.plain.shared import Options, batches, main
from visionkit.data.batch import to_target
from visionkit.data.datasets.base import VisionDataset
from visionkit.data.io.images import to_tensor
from visionkit.metrics.detection import detection_metrics
from visionkit.metrics.results import MetricResults

DEFAULTS = {"masks": False, "metric": "coco", "short_side": 320, "batch": 4, "lr": 5e-4, "body_lr": 0.3}


class Images(Dataset[tuple[Tensor, dict[str, Tensor]]]):
    """Augmented training images with torchvision's targets. Crowds are left out."""

    augment = v2.Compose(
        [
            v2.RandomPhotometricDistort(p=0.5),
            v2.RandomHorizontalFlip(),
            v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True),
        ]
    )

    def __init__(self, dataset: VisionDataset, masks: bool) -> None:
        self.dataset, self.masks = dataset, masks

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        sample = self.dataset[index]
        objects = sample.annotation.select(np.flatnonzero(~sample.annotation.crowd))
        boxes = tv_tensors.BoundingBoxes(objects.boxes, format="XYXY", canvas_size=sample.size)
        target = {"boxes": boxes, "labels": torch.from_numpy(objects.labels) + 1}
        if self.masks:
            decoded = rle.decode(objects.masks) if len(objects) else np.zeros((*sample.size, 0), np.uint8)
            target["masks"] = tv_tensors.Mask(decoded.transpose(2, 0, 1))
        return self.augment(tv_tensors.Image(sample.image.transpose(2, 0, 1)), target)


def fit(options: Options) -> dict[str, Any]:
    """Train on the split `train`."""
    dataset = options.data.dataset("train")
    model = create(len(dataset.class_names), options.short_side, options.masks).train()
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    body = [parameter for name, parameter in trained.items() if name.startswith("backbone.body")]
    rest = [parameter for name, parameter in trained.items() if not name.startswith("backbone.body")]
    groups = [{"params": body, "lr": options.lr * options.body_lr}, {"params": rest, "lr": options.lr}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    images = Images(dataset, options.masks)
    loader = DataLoader(images, options.batch, shuffle=True, drop_last=True, collate_fn=list)
    for batch in batches(loader, optimizer, options.clock):
        loss = sum(model([image for image, _ in batch], [target for _, target in batch]).values())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
    return model.state_dict()


@torch.inference_mode()
def score(options: Options, saved: dict[str, Any]) -> MetricResults:
    """Return COCO's or VOC's metrics; COCO's are pycocotools'."""
    dataset = options.data.dataset(options.split)
    model = create(len(dataset.class_names), options.short_side, options.masks).eval()
    model.load_state_dict(saved)
    metric = detection_metrics.get(options.metric)(class_names=dataset.class_names)
    for index in range(len(dataset)):
        sample = dataset[index]
        found = model([v2.functional.to_dtype(to_tensor(sample.image), torch.float32, scale=True)])[0]
        prediction = {"boxes": found["boxes"], "scores": found["scores"], "labels": found["labels"] - 1}
        if options.masks:
            prediction["masks"] = [rle.encode(np.asfortranarray(mask[0] > 0.5)) for mask in found["masks"].numpy()]
        metric.update([prediction], [to_target(sample)])
    return metric.compute()


if __name__ == "__main__":
    main(fit, score, DEFAULTS)
