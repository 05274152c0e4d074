"""Masks of classes: the U-Net of segmentation_models_pytorch on EfficientNet-Lite0."""

from typing import Any

import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from tests.benchmarks.plain.shared import MEAN, STD, Options, batches, main, read_weights
from visionkit.data.datasets.base import VisionDataset
from visionkit.data.io.images import to_tensor
from visionkit.metrics.results import MetricResults
from visionkit.metrics.segmentation import SegmentationMetrics

DEFAULTS = {"scale": 1.0, "crop": 192, "batch": 4, "lr": 1e-3, "encoder_lr": 1.0}

IGNORE = 255
STRIDE = 32
normalize = v2.Compose(
    [v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True), v2.Normalize(MEAN, STD)]
)


def create(classes: int) -> nn.Module:
    """Return the network with a decoder of half the usual width."""
    model = smp.Unet(
        "tu-tf_efficientnet_lite0", encoder_weights=None, decoder_channels=(128, 64, 48, 32, 16), classes=classes
    )
    model.encoder.model.load_state_dict(read_weights(), strict=False)  # the file also has the classifier
    return model.to(memory_format=torch.channels_last)


def resize(image: Tensor, scale: float) -> Tensor:
    """Return a smaller image."""
    size = [round(side * scale) for side in image.shape[-2:]]
    return v2.functional.resize(image, size, antialias=True)


class Images(Dataset[tuple[Tensor, Tensor]]):
    """Augmented crops of the training images, which stay in memory."""

    def __init__(self, dataset: VisionDataset, scale: float, crop: int) -> None:
        self.samples = []
        for index in range(len(dataset)):
            sample = dataset[index]
            image = tv_tensors.Image(resize(to_tensor(sample.image), scale))
            mask = F.interpolate(torch.from_numpy(sample.semantic)[None, None], image.shape[-2:], mode="nearest-exact")
            self.samples.append((image, tv_tensors.Mask(mask[0, 0])))
        self.augment = v2.Compose(
            [
                v2.RandomCrop(crop, pad_if_needed=True, fill={tv_tensors.Image: 0, tv_tensors.Mask: IGNORE}),
                v2.RandomHorizontalFlip(),
                v2.ColorJitter(0.2, 0.2, 0.2),
                normalize,
            ]
        )

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, mask = self.augment(*self.samples[index])
        return image, mask.long()


def fit(options: Options) -> dict[str, Any]:
    """Train on the split `train` by cross-entropy and the Dice loss."""
    dataset = options.data.dataset("train")
    model = create(len(dataset.class_names)).train()
    groups = [
        {"params": model.encoder.parameters(), "lr": options.lr * options.encoder_lr},
        {"params": [*model.decoder.parameters(), *model.segmentation_head.parameters()], "lr": options.lr},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    dice = smp.losses.DiceLoss("multiclass", ignore_index=IGNORE)
    images = Images(dataset, options.scale, options.crop)
    loader = DataLoader(images, options.batch, shuffle=True, drop_last=True)
    for image, mask in batches(loader, optimizer, options.clock):
        logits = model(image.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(logits, mask, ignore_index=IGNORE) + dice(logits, mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.state_dict()


@torch.inference_mode()
def score(options: Options, saved: dict[str, Any]) -> MetricResults:
    """Return the metrics of whole images at their own size."""
    dataset = options.data.dataset(options.split)
    model = create(len(dataset.class_names)).eval()
    model.load_state_dict(saved)
    metrics = SegmentationMetrics(dataset.class_names)
    for index in range(len(dataset)):
        sample = dataset[index]
        image = normalize(tv_tensors.Image(resize(to_tensor(sample.image), options.scale)))
        height, width = image.shape[-2:]
        padded = F.pad(image[None], (0, -width % STRIDE, 0, -height % STRIDE))
        logits = F.interpolate(model(padded)[..., :height, :width], sample.size, mode="bilinear")
        metrics.update(logits[0].argmax(0), torch.from_numpy(sample.semantic))
    return metrics.compute()


if __name__ == "__main__":
    main(fit, score, DEFAULTS)
