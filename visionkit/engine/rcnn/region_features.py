"""Region features of all training images, computed once and stored on disk."""

import dataclasses
import logging
import time
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from visionkit.data.batch import TargetDataset, initialize_worker
from visionkit.data.datamodule import VisionData
from visionkit.data.digest import digest, digest_array
from visionkit.data.io.atomic_write import atomic_write
from visionkit.data.io.npz import read_npz
from visionkit.engine.feature_key import backbone_structure, fingerprint, weights_digest
from visionkit.engine.post_training_fit import FittingContext
from visionkit.errors import DataError
from visionkit.models.detection.parts.batch import pad_targets
from visionkit.models.detection.parts.target_checks import check_proposals
from visionkit.models.detection.rcnn.rcnn import RCNN
from visionkit.models.detection.rcnn.region_selection import regression_pairs
from visionkit.ops.float32 import check_finite
from visionkit.ops.matching import Objects
from visionkit.preprocessing.detection import DetectionPreprocessing
from visionkit.structures import Target

FORMAT_VERSION = 2
MEAN_NORM = 20.0
"""Mean norm to which features are scaled (author's code). The costs and penalties of the paper assume this norm."""
NORM_SAMPLE = 200
"""Number of images from whose features the mean norm is computed."""
LOG_INTERVAL = 60.0
"""Interval of progress messages in seconds."""

logger = logging.getLogger("visionkit")


class TrainingRegions:
    """Regions of the training images with their features. Only those of one image are in memory at a time.

    Args:
        files: file of each image, written by `RegionFeatureFolder`.
        objects: ground truth of each image, in pixels of the network's input.
        key: digest of the content of all files and of the labels.
    """

    def __init__(self, files: list[Path], objects: list[Objects], key: bytes) -> None:
        self.files, self.objects, self.key = files, objects, key

    def __len__(self) -> int:
        return len(self.files)

    def all_regions(self, index: int) -> tuple[Tensor, Tensor]:
        """Return the regions [R, 4] of an image, objects before proposals, and their fc7 features float32 [R, C]."""
        arrays = _read(self.files[index], "regions", "fc7", "fc7_unit")
        return torch.from_numpy(arrays["regions"]), _unpack(arrays["fc7"], arrays["fc7_unit"])

    def object_features(self, index: int) -> Tensor:
        """Return fc7 features float32 [N, C] of the objects of an image, without reading its proposals."""
        arrays = _read(self.files[index], "own_fc7", "fc7_unit")
        return _unpack(arrays["own_fc7"], arrays["fc7_unit"])

    def near_objects(self, index: int) -> tuple[Tensor, Tensor]:
        """Return the proposals [M, 4] near an object and their flattened deepest feature maps, float32 [M, P]."""
        arrays = _read(self.files[index], "regions", "pairs", "deepest", "deepest_unit")
        boxes = torch.from_numpy(arrays["regions"][arrays["pairs"]])
        return boxes, _unpack(arrays["deepest"], arrays["deepest_unit"])

    def sample_indices(self) -> range:
        """Return evenly spaced indices of a sample of the images."""
        return range(0, len(self), max(len(self) // NORM_SAMPLE, 1))


def scale_to_mean_norm(features: Iterable[Tensor]) -> float:
    """Return the factor that scales the rows [N, C] of several images to a mean norm of 20."""
    norms = torch.cat([torch.zeros(0), *(rows.norm(dim=1) for rows in features)])
    mean = norms.mean().item() if len(norms) else 0.0
    return MEAN_NORM / mean if mean > 0 else 1.0


def collect_regions(context: FittingContext) -> TrainingRegions:
    """Return the regions of the training split. Features that are not on disk are computed."""
    folder = RegionFeatureFolder(context)
    files, objects, logged_at = [], [], time.monotonic()
    for image, target in _training_images(context.data):
        path, image_objects = folder.file_of(image, target)
        files.append(path)
        objects.append(image_objects)
        if time.monotonic() - logged_at > LOG_INTERVAL:
            logged_at = time.monotonic()
            logger.info("region features: %d of %d images", len(files), len(context.data.dataset("train")))
    logger.info("region features: %d of %d images computed, in %s", folder.computed, len(files), folder.path)
    names = (path.stem.encode() for path in files)
    labels = (digest_array(part.numpy()) for found in objects for part in (found.labels, found.crowds))
    return TrainingRegions(files, objects, digest(folder.path.name.encode(), *names, *labels))


class RegionFeatureFolder:
    """Folder with one file of region features per image, named by a digest of the image and its regions.

    For the SVMs, a file contains fc7 of all regions, and separately fc7 of the objects. For the box regression, it
    contains the deepest feature map of the few proposals near an object. Without SVMs, only the latter are computed.
    Arrays are float16 with a common factor: 2000 regions with 4096 channels take 16 MB.

    Args:
        context: context with a fine-tuned `RCNN` and the parent folder of this network's folder.

    Attributes:
        path: the folder of this network.
        computed: number of images whose features were not on disk.
    """

    def __init__(self, context: FittingContext) -> None:
        self.pipeline, self.trainer = context.pipeline, context.trainer
        network = context.pipeline.network
        assert isinstance(network, RCNN)  # only RCNN has layers of these stages
        self.network = network
        self.with_svms = "svm" in self.network.fitted_layers
        self.path = context.folder / self._fingerprint()
        self.computed = 0

    def file_of(self, image: Tensor, target: Target) -> tuple[Path, Objects]:
        """Return the file of an image uint8 [3, H, W], created if missing, and its objects in the network's input."""
        geometry = self.pipeline.preprocessing.geometry(*image.shape[-2:])
        (resized,) = DetectionPreprocessing.resize_targets([target], [geometry])
        objects = pad_targets([resized], self.network.num_classes).image(0)
        (proposals,) = check_proposals([resized.get("proposals")], 1)
        regions = torch.cat([objects.boxes, proposals])
        content = (image.numpy(), regions.numpy(), np.array(len(objects.boxes)))
        name = digest(*map(digest_array, content)).hex()
        path = self.path / name[:2] / f"{name}.npz"
        if not zipfile.is_zipfile(path):  # missing or truncated
            arrays = self._compute(image, regions, objects)
            with atomic_write(path) as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]  # NumPy stubs take the names for options
            self.computed += 1
        return path, objects

    def _compute(self, image: Tensor, regions: Tensor, objects: Objects) -> dict[str, NDArray[Any]]:
        """Return the arrays of an image's file. The first regions are the objects."""
        own = len(objects.boxes)
        pairs = own + regression_pairs(regions[own:], objects, self.network.box_regression_options.iou)[0]
        if not self.with_svms:
            regions, pairs = regions[pairs], torch.arange(len(pairs))
        device = self.trainer.strategy.root_device
        with self.trainer.precision_plugin.forward_context(), torch.no_grad():
            (prepared,), _ = self.pipeline.preprocessing([image.to(device)])
            features = self.network.compute_features(prepared, regions.to(device))
        check_finite(*features)
        fc7, fc7_unit = _pack(features.fc7)
        deepest, deepest_unit = _pack(features.deepest[pairs.to(device)])
        return {
            "regions": regions.numpy(),
            "fc7": fc7,
            "own_fc7": fc7[: own if self.with_svms else 0],
            "fc7_unit": fc7_unit,
            "pairs": pairs.numpy(),
            "deepest": deepest,
            "deepest_unit": deepest_unit,
        }

    def _fingerprint(self) -> str:
        """Return a digest of everything that the features depend on except images and regions."""
        network = self.network
        warp = network.roi_heads.pool
        selection = {"all": self.with_svms, "pairs above": network.box_regression_options.iou}
        structure = {**backbone_structure(network.backbone), "warp": warp.size, "context": warp.context, **selection}
        preprocess = dataclasses.asdict(self.pipeline.preprocess_options)
        preprocess["precision"] = self.trainer.precision
        weights = digest(weights_digest(network.backbone), weights_digest(network.roi_heads.box_head))
        return fingerprint(FORMAT_VERSION, structure, preprocess, weights)


def _training_images(data: VisionData) -> Iterator[tuple[Tensor, Target]]:
    loader = DataLoader(
        TargetDataset(data.dataset("train"), proposals=data.proposals()),
        batch_size=data.batch_size,
        num_workers=data.num_workers,
        collate_fn=list,
        worker_init_fn=initialize_worker,  # proposals may have to be computed
    )
    for items in loader:
        yield from items


def _pack(values: Tensor) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
    """Return values as float16 within -1..1 and their factor, so that they are in the range of float16."""
    values = values.float().cpu()
    unit = values.abs().max() if values.numel() else torch.ones(())
    unit = torch.where(unit > 0, unit, 1.0)
    return (values / unit).half().numpy(), unit.numpy()


def _unpack(values: NDArray[np.float16], unit: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32) * unit)


def _read(path: Path, *names: str) -> dict[str, NDArray[Any]]:
    try:
        return read_npz(path, "features", names)
    except DataError as error:
        raise DataError(f"the features {path} are damaged: delete the file and resume the run") from error
