"""Features of boxes of all images from a frozen backbone, computed once and cached on disk."""

import logging
import time
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torchvision.ops import roi_align

from visionkit.backbones import Backbone
from visionkit.data.digest import digest, digest_array
from visionkit.data.feature_files import FeatureFile
from visionkit.data.io.images import to_tensor
from visionkit.engine.audit.subject import AuditImage, AuditSubject, QuickModelOptions
from visionkit.engine.feature_key import backbone_structure, fingerprint, weights_digest
from visionkit.preprocessing.geometry import Geometry, letterbox
from visionkit.preprocessing.normalize import Normalize

FORMAT_VERSION = 1

STAGES = 3
"""Number of the deepest stages that are used."""

CHANNELS = 320
"""Largest number of channels of a stage; more are projected at random, which keeps distances (Johnson and
Lindenstrauss 1984)."""

GRID, MARGIN = 5, 5 / 3
"""Cells in each direction that a region is pooled to, and its size as a multiple of the box: the inner 3 x 3 cells are
the box, and the ring around them is its surroundings."""

SMALLEST_SIDE = 4.0
"""Sides of boxes in pixels of the network's input below which the region is enlarged."""

GRAY = 128
"""Value of the padding."""

logger = logging.getLogger("visionkit")


def choose_images(images: Sequence[AuditImage], most: int) -> list[AuditImage]:
    """Return all images that can be read, or evenly spaced ones if there are more than `most`."""
    readable = [image for image in images if not image.problem]
    if len(readable) <= most:
        return readable
    return [readable[index] for index in np.linspace(0, len(readable) - 1, most).round().astype(int).tolist()]


def region_features(
    subject: AuditSubject, images: Sequence[AuditImage], boxes: Sequence[NDArray[np.float32]], side: int
) -> list[Tensor]:
    """Return the features of the boxes of each image, float16 [N, P] for each.

    Args:
        subject: the dataset, with a backbone.
        images: images that can be read.
        boxes: float32 [N, 4] of each image, xyxy in pixels.
        side: height and width of the network's input in pixels; images keep their aspect ratio.
    """
    quick = subject.quick
    assert quick.backbone is not None  # checked by the callers
    network = _RegionNetwork(quick.backbone, side)
    file = _open_file(quick, side)
    known: dict[bytes, Tensor] = {} if file is None else file.rows
    keys = [[digest(image.digest, digest_array(box)) for box in own] for image, own in zip(images, boxes, strict=True)]
    todo = [index for index, own in enumerate(keys) if any(key not in known for key in own)]
    start = time.monotonic()
    for index in track(todo, "features", transient=True, console=Console(stderr=True)):
        image = images[index]
        sample = subject.datasets[image.split][image.index]
        rows = network(sample.image, boxes[index]).half()[:, :, None, None]
        known.update(zip(keys[index], rows.clone(), strict=True))
    if todo:
        logger.info("features of %d images: %.0f s", len(todo), time.monotonic() - start)
        if file is not None:
            file.save()
    width = network.width
    return [torch.stack([known[key][:, 0, 0] for key in own]) if own else torch.zeros(0, width) for own in keys]


def _open_file(quick: QuickModelOptions, side: int) -> FeatureFile | None:
    if quick.folder is None or quick.backbone is None:
        return None
    options = {"stages": STAGES, "channels": CHANNELS, "grid": GRID, "margin": MARGIN, "side": side}
    structure = {**backbone_structure(quick.backbone), "use": "audit"}
    name = fingerprint(FORMAT_VERSION, structure, options, weights_digest(quick.backbone))
    return FeatureFile(quick.folder / f"{name}.pt")


class _RegionNetwork:
    """Function from an image and boxes to the features of the boxes.

    For each stage, these are the mean over the box; for all but the deepest, the differences of its four sides to what
    is outside of them; and for all but the first, the center.
    """

    def __init__(self, backbone: Backbone, side: int) -> None:
        self.backbone = backbone.eval().to(memory_format=torch.channels_last)
        self.side, self.normalize = side, Normalize(backbone.mean, backbone.std)
        self.stages = [*backbone.stages][-STAGES:]
        generator = torch.Generator().manual_seed(0)
        self.projections = {
            stage: torch.randn(channels, CHANNELS, generator=generator) / CHANNELS**0.5
            for stage, channels in ((stage, backbone.stages[stage].channels) for stage in self.stages)
            if channels > CHANNELS
        }
        kept = [min(backbone.stages[stage].channels, CHANNELS) for stage in self.stages]
        self.width = sum(kept) + 4 * sum(kept[:-1]) + sum(kept[1:])

    @torch.inference_mode()
    def __call__(self, image: NDArray[np.uint8], boxes: NDArray[np.float32]) -> Tensor:
        """Return float32 [N, width]."""
        geometry = letterbox(image.shape[0], image.shape[1], self.side, self.side)
        batch = self.normalize(to_tensor(_resize(image, geometry))[None]).to(memory_format=torch.channels_last)
        maps = self.backbone(batch)
        regions = _with_margin(geometry.to_input(torch.from_numpy(boxes)))
        parts: list[Tensor] = []
        for number, stage in enumerate(self.stages):
            stride = self.side / maps[stage].shape[-1]
            pooled = roi_align(maps[stage].float(), [regions], (GRID, GRID), 1 / stride, 2, True)
            if stage in self.projections:
                pooled = torch.einsum("nchw,cd->ndhw", pooled, self.projections[stage])
            parts.append(pooled[:, :, 1:4, 1:4].mean(dim=(2, 3)))
            if number < len(self.stages) - 1:
                parts += _side_differences(pooled)
            if number > 0:
                parts.append(pooled[:, :, 2, 2])
        return torch.cat(parts, dim=1)


def _resize(image: NDArray[np.uint8], geometry: Geometry) -> NDArray[np.uint8]:
    """Return an image resized and padded to the input."""
    height, width = geometry.resized
    method = cv2.INTER_AREA if geometry.scale_x < 1 else cv2.INTER_LINEAR
    result = np.full((*geometry.input_size, 3), GRAY, np.uint8)
    rows, columns = slice(geometry.top, geometry.top + height), slice(geometry.left, geometry.left + width)
    result[rows, columns] = cv2.resize(image, (width, height), interpolation=method)
    return result


def _with_margin(boxes: Tensor) -> Tensor:
    center, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).clamp(min=SMALLEST_SIDE)
    return torch.cat([center - sides * MARGIN / 2, center + sides * MARGIN / 2], dim=1)


def _side_differences(pooled: Tensor) -> list[Tensor]:
    """Return the difference of the outside and the inside along the left, right, upper and lower side, [N, C] each."""
    inner = slice(1, 4)
    return [
        pooled[:, :, inner, 0].mean(dim=2) - pooled[:, :, inner, 1].mean(dim=2),
        pooled[:, :, inner, 4].mean(dim=2) - pooled[:, :, inner, 3].mean(dim=2),
        pooled[:, :, 0, inner].mean(dim=2) - pooled[:, :, 1, inner].mean(dim=2),
        pooled[:, :, 4, inner].mean(dim=2) - pooled[:, :, 3, inner].mean(dim=2),
    ]
