"""Loading of JPEG files beside torchvision's, and the end-to-end epoch of a classifier that reads them."""

import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torchvision
from lightning.pytorch import Trainer
from PIL import Image
from torch.nn import functional
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.io import ImageReadMode, decode_jpeg, read_file
from torchvision.transforms import v2

from tests.benchmarks.speed_table.plain_loop import MEAN, STD
from tests.benchmarks.speed_table.setting import Setting, Variant, peers_optimizer, variants
from tests.benchmarks.speed_table.timing import Build, Job
from visionkit.backbones import create_backbone
from visionkit.data.datamodule import VisionData
from visionkit.data.datasets.shapes import Shapes
from visionkit.models import create_model
from visionkit.preprocessing.classification import ClassificationPreprocessOptions
from visionkit.tasks import Classification

HEIGHT, WIDTH, SIDE = 375, 500, 224
RENDERED = 16
"""Different images; further files are copies of them."""


def write_images(folder: Path, count: int = RENDERED) -> Path:
    """Write JPEG files of ImageNet's average size with camera noise, in two classes."""
    random, shapes = np.random.default_rng(0), Shapes(split="train", count=RENDERED, size=WIDTH)
    paths = [folder / f"class{index % 2}" / f"{index}.jpg" for index in range(count)]
    for index, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        if index < RENDERED:
            clean = shapes[index].image[:HEIGHT].astype(float)
            noisy = (clean + random.normal(0, 8, clean.shape)).clip(0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(path, quality=95)
        else:
            shutil.copy(paths[index % RENDERED], path)
    return folder


@cache
def image_folder(count: int) -> Path:
    """Return a temporary folder with image files, which are written once."""
    return write_images(Path(tempfile.mkdtemp(prefix="speed_table_")), count)


def augment(side: int) -> list[dict[str, object]]:
    """Return random resized crop and flip, as options of `VisionData`."""
    return [{"name": "RandomResizedCrop", "size": [side, side]}, {"name": "HorizontalFlip", "p": 0.5}]


def torchvisions(folder: Path, side: int = SIDE) -> dict[str, ImageFolder]:
    """Return torchvision's dataset with the same transforms, by the decoder."""
    steps = [v2.RandomResizedCrop(side, antialias=True), v2.RandomHorizontalFlip()]

    def decoded(path: str) -> torch.Tensor:
        return decode_jpeg(read_file(path), ImageReadMode.RGB)

    return {
        "PIL": ImageFolder(folder, v2.Compose([*steps, v2.PILToTensor()])),
        "decode_jpeg": ImageFolder(folder, v2.Compose(steps), loader=decoded),
    }


def own_data(setting: Setting, side: int) -> VisionData:
    """Return the datamodule of the image files."""
    root = str(image_folder(setting.sizes.files))
    splits = {"train": {}}
    return VisionData(
        "folder", root, splits, batch_size=setting.batch, num_workers=setting.workers, augment=augment(side)
    )


def peers_loader(setting: Setting, dataset: ImageFolder) -> DataLoader:
    """Return torchvision's dataset in a loader."""
    return DataLoader(
        dataset,
        setting.batch,
        shuffle=True,
        drop_last=True,
        num_workers=setting.workers,
        pin_memory=setting.on_gpu,
        persistent_workers=setting.workers > 0,
    )


def loading_contenders(setting: Setting) -> dict[str, Build]:
    """Return the contenders of the loader; a step is an epoch."""

    def reading(loader: DataLoader) -> Job:
        def read() -> None:
            for _ in loader:
                pass

        return read

    def theirs(name: str) -> Job:
        return reading(peers_loader(setting, torchvisions(image_folder(setting.sizes.files))[name]))

    return {
        "visionkit": lambda: reading(own_data(setting, SIDE).train_dataloader()),
        "torchvision, PIL": lambda: theirs("PIL"),
        "torchvision, decode_jpeg": lambda: theirs("decode_jpeg"),
    }


def epoch_contenders(name: str, setting: Setting) -> dict[str, Build]:
    """Return the contenders of an epoch of a classifier, start of the workers included."""
    side = setting.sizes.classifier

    def ours() -> Job:
        torch.manual_seed(0)
        network = create_model("classifier", create_backbone(name, weights="none"), 2)
        task = Classification(network, ["one", "two"], preprocess=ClassificationPreprocessOptions(side, side))

        def fit() -> None:
            trainer = Trainer(
                max_epochs=1,
                accelerator=setting.device.type,
                devices=1,
                precision="bf16-mixed" if setting.precision == "bf16" else "32-true",
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            trainer.fit(task, own_data(setting, side))

        return fit

    def theirs(variant: Variant) -> Job:
        torch.manual_seed(0)
        network = torchvision.models.get_model(name, weights=None, num_classes=2)
        return plain_epoch(setting, variant, network, torchvisions(image_folder(setting.sizes.files), side)["PIL"])

    return {"visionkit": ours, **variants(setting, "plain loop", theirs)}


def plain_epoch(setting: Setting, variant: Variant, network: torch.nn.Module, dataset: ImageFolder) -> Job:
    """Return an epoch of a plain loop over image files."""
    network = network.to(setting.device, memory_format=variant.layout).train()
    if variant.is_compiled:
        network.compile()
    optimizer = peers_optimizer(network.parameters(), variant.fused)
    mean, std = (torch.tensor(values, device=setting.device).view(3, 1, 1) for values in (MEAN, STD))

    def epoch() -> None:
        for images, labels in peers_loader(setting, dataset):
            moved = images.to(setting.device, non_blocking=True)
            x = ((moved.float() / 255 - mean) / std).contiguous(memory_format=variant.layout)
            with setting.autocast():
                loss = functional.cross_entropy(network(x), labels.to(setting.device, non_blocking=True))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    return epoch
