"""What R-CNN's last two stages learn from: the features of all training regions, computed once and kept on disk."""

import dataclasses
import logging
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from visionkit.data.batch import TaskDataset, WorkerStart
from visionkit.data.cached_features import digest, digest_of_array
from visionkit.data.datamodule import VisionData
from visionkit.data.io.atomic_write import atomic_write
from visionkit.engine.feature_cache import fingerprint, structure, weights_digest
from visionkit.errors import DataError
from visionkit.models.detection.parts.batch import given_proposals, split_targets
from visionkit.models.detection.rcnn.rcnn import RCNN
from visionkit.models.detection.rcnn.training_rules import regression_pairs
from visionkit.ops.matching import Objects
from visionkit.ops.precision import check_finite
from visionkit.preprocessing.detection import DetectionPreprocessing
from visionkit.structures import Target

FORMAT_VERSION = 2
MEAN_LENGTH = 20.0
"""That the features of regions are scaled to (the author's code); costs and penalties are meant for such."""
SAMPLE = 200
"""Images whose features' lengths are measured."""
SECONDS_OF_SILENCE = 60.0

logger = logging.getLogger("visionkit")


class TrainingRegions:
    """The regions of the training images; one image's features are in memory at a time.

    Args:
        files: of each image, as `FeatureFolder` writes them.
        objects: of each image, in the pixels of the network's input.
        key: tells apart all that the files hold and the objects say.
    """

    def __init__(self, files: list[Path], objects: list[Objects], key: bytes) -> None:
        self.files, self.objects, self.key = files, objects, key

    def __len__(self) -> int:
        return len(self.files)

    def all_of(self, index: int) -> tuple[Tensor, Tensor]:
        """Regions [R, 4] of an image and their fc7, float32 [R, C]: its objects first, then its proposals."""
        kept = _read(self.files[index], "regions", "fc7", "fc7_unit")
        return torch.from_numpy(kept["regions"]), _unpacked(kept["fc7"], kept["fc7_unit"])

    def objects_of(self, index: int) -> Tensor:
        """Fc7 of an image's objects alone, float32 [N, C], without reading the many proposals behind them."""
        kept = _read(self.files[index], "own_fc7", "fc7_unit")
        return _unpacked(kept["own_fc7"], kept["fc7_unit"])

    def pairs_of(self, index: int) -> tuple[Tensor, Tensor]:
        """Proposals [M, 4] of an image that come near an object, and their deepest maps, float32 [M, P]."""
        kept = _read(self.files[index], "regions", "pairs", "deepest", "deepest_unit")
        return torch.from_numpy(kept["regions"][kept["pairs"]]), _unpacked(kept["deepest"], kept["deepest_unit"])

    def sample(self) -> Iterator[int]:
        """Some images, evenly spread."""
        return iter(range(0, len(self), max(len(self) // SAMPLE, 1)))


def scale_to_mean_length(features: Iterator[Tensor]) -> float:
    """The factor that gives rows [N, C] of several images the mean length 20."""
    lengths = torch.cat([torch.zeros(0), *(rows.norm(dim=1) for rows in features)])
    mean = lengths.mean().item() if len(lengths) else 0.0
    return MEAN_LENGTH / mean if mean > 0 else 1.0


def collect(task: Any, data: VisionData, folder: Path, trainer: Any) -> TrainingRegions:
    """Go through the training split, and compute and keep what is not there yet.

    Args:
        task: of a fine-tuned `RCNN`.
        data: with proposals.
        folder: any; files in it have names that tell networks, preprocessings, images and regions apart.
        trainer: whose device and precision are used.
    """
    keeper = FeatureFolder(task, folder, trainer)
    files, objects, said = [], [], time.monotonic()
    for image, target in _images(data):
        path, found = keeper.file_of(image, target)
        files.append(path)
        objects.append(found)
        if time.monotonic() - said > SECONDS_OF_SILENCE:
            said = time.monotonic()
            logger.info("features of regions: %d of %d images", len(files), len(data.dataset("train")))
    logger.info("features of regions: %d of %d images computed, in %s", keeper.computed, len(files), keeper.folder)
    names = (path.stem.encode() for path in files)
    said_of_them = (digest_of_array(part.numpy()) for found in objects for part in (found.labels, found.crowds))
    return TrainingRegions(files, objects, digest(keeper.folder.name.encode(), *names, *said_of_them))


class FeatureFolder:
    """Files of images' region features, found by the content of images and regions.

    Of every region is kept what the machines need, fc7, that of the objects a second time by itself; of the proposals
    near an object, a small share, what the regression needs, the deepest map, too. Numbers are halves with a unit for
    each array: the 2000 regions of an image take 16 MB with 4096 channels. Without machines nothing is computed but
    those near an object.

    Args:
        task: of a fine-tuned `RCNN`.
        folder: where the folder of this network lies.
        trainer: whose device and precision are used.

    Attributes:
        computed: images whose features were not there.
    """

    def __init__(self, task: Any, folder: Path, trainer: Any) -> None:
        self.task, self.trainer, self.computed = task, trainer, 0
        self.network: RCNN = task.network
        self.of_all = "svm" in self.network.fitted_layers
        self.folder = folder / self._fingerprint()

    def file_of(self, image: Tensor, target: Target) -> tuple[Path, Objects]:
        """The file of an image uint8 [3, H, W], and its objects in the pixels of the network's input."""
        geometry = self.task.preprocessing.geometry(*image.shape[-2:])
        (resized,) = DetectionPreprocessing.resize_targets([target], [geometry])
        (objects,) = split_targets([resized], self.network.num_classes)
        (proposals,) = given_proposals([resized.get("proposals")], 1)
        regions = torch.cat([objects.boxes, proposals])
        parts = (image.numpy(), regions.numpy(), np.array(len(objects.boxes)))
        name = digest(*map(digest_of_array, parts)).hex()
        path = self.folder / name[:2] / f"{name}.npz"
        if not zipfile.is_zipfile(path):  # not there, or truncated
            arrays = self._compute(image, regions, objects)
            with atomic_write(path) as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
            self.computed += 1
        return path, objects

    def _compute(self, image: Tensor, regions: Tensor, objects: Objects) -> dict[str, NDArray[Any]]:
        """What is kept of an image; the first of the regions are its objects."""
        own = len(objects.boxes)
        pairs = own + regression_pairs(regions[own:], objects, self.network.regression_iou)[0]
        if not self.of_all:
            regions, pairs = regions[pairs], torch.arange(len(pairs))
        device = self.trainer.strategy.root_device
        with self.trainer.precision_plugin.forward_context(), torch.no_grad():
            (prepared,), _ = self.task.preprocessing([image.to(device)])
            features = self.network.describe(prepared, regions.to(device))
        check_finite(*features)
        fc7, fc7_unit = _packed(features.fc7)
        deepest, deepest_unit = _packed(features.deepest[pairs.to(device)])
        return {
            "regions": regions.numpy(),
            "fc7": fc7,
            "own_fc7": fc7[: own if self.of_all else 0],
            "fc7_unit": fc7_unit,
            "pairs": pairs.numpy(),
            "deepest": deepest,
            "deepest_unit": deepest_unit,
        }

    def _fingerprint(self) -> str:
        """Of all that the features depend on but images and regions."""
        network = self.network
        warp = network.roi_heads.pool
        chosen = {"all": self.of_all, "pairs above": network.regression_iou}
        described = {**structure(network.backbone), "warp": warp.size, "context": warp.context, **chosen}
        way = {**dataclasses.asdict(self.task.pipeline.preprocess_options), "precision": self.trainer.precision}
        weights = digest(weights_digest(network.backbone), weights_digest(network.roi_heads.box_head))
        return fingerprint(FORMAT_VERSION, described, way, weights)


def _images(data: VisionData) -> Iterator[tuple[Tensor, Target]]:
    loader = DataLoader(
        TaskDataset(data.dataset("train"), proposals=data.proposals()),
        batch_size=data.batch_size,
        num_workers=data.num_workers,
        collate_fn=list,
        worker_init_fn=WorkerStart(0),  # regions may have to be searched for
    )
    for items in loader:
        yield from items


def _packed(values: Tensor) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
    """Numbers as halves in 0..1 in size, and what they are multiples of: none is too large or too small for a half."""
    values = values.float().cpu()
    unit = values.abs().max() if values.numel() else torch.ones(())
    unit = torch.where(unit > 0, unit, 1.0)
    return (values / unit).half().numpy(), unit.numpy()


def _unpacked(values: NDArray[np.float16], unit: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32) * unit)


def _read(path: Path, *names: str) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names}
    except (OSError, ValueError, EOFError, LookupError, zipfile.BadZipFile) as error:
        raise DataError(f"the features {path} are damaged: delete the file, and resume the run") from error
