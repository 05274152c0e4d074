"""Selective search (Uijlings et al. 2013): groupings of one image by several strategies, with a common ranking."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.ops import nms

from visionkit.data.io.images import ImageArray
from visionkit.data.proposals.color_spaces import color_spaces
from visionkit.data.proposals.hierarchical_grouping import (
    COLOR_TEXTURE_SIZE_FILL,
    FILL,
    SIZE,
    TEXTURE_SIZE_FILL,
    Similarity,
    group_regions,
)
from visionkit.data.proposals.initial_regions import compute_bins, measure_regions, segment
from visionkit.registry import Registry

MIN_SIDE = 12
"""Minimum width and height of a proposal in pixels (20 in the authors' code, which loses small objects)."""
NEAR_DUPLICATE_IOU = 0.75
"""IoU above which only the better ranked of two proposals is kept, so that the same number covers more objects."""


@dataclass
class SearchMode:
    """Strategies of a mode: all combinations of its color spaces, segmentation scales and similarities.

    Attributes:
        spaces: names of color spaces.
        scales: values of k of the segmentation.
        similarities: similarities that determine the order of merging.
    """

    spaces: tuple[str, ...]
    scales: tuple[int, ...]
    similarities: tuple[Similarity, ...]


search_modes: Registry[SearchMode] = Registry("mode of selective search")
search_modes.register("single")(SearchMode(("hsv",), (100,), (COLOR_TEXTURE_SIZE_FILL,)))
search_modes.register("fast")(SearchMode(("hsv", "lab", "intensity"), (50, 100), (COLOR_TEXTURE_SIZE_FILL, FILL)))
search_modes.register("quality")(
    SearchMode(
        ("hsv", "lab", "rgi", "hue", "intensity"),
        (50, 100, 150, 300),
        (COLOR_TEXTURE_SIZE_FILL, TEXTURE_SIZE_FILL, FILL, SIZE),
    )
)


def selective_search(image: ImageArray, mode: str = "fast", seed: int = 0) -> NDArray[np.float32]:
    """Compute object proposals of an image.

    There are two differences from the paper, which increase the recall at a given number of proposals (measured in
    docs/results.md). Near duplicates are removed. The mode "fast" has other strategies (the paper: HSV and Lab with
    color + texture + size + fill and texture + size + fill).

    Args:
        image: uint8 [H, W, 3], RGB.
        mode: "single" (1 strategy), "fast" (12) or "quality" (80). "single" and "quality" are those of section 5.3 of
            the paper.
        seed: seed of the random numbers in the ranking.

    Returns:
        float32 [P, 4], xyxy, pixel edges, without near duplicates, best ranked first; P > 0.

    Raises:
        ConfigError: there is no such mode.
        VisionkitError: scikit-image is not installed.
    """
    hierarchies = _hierarchies(image, search_modes.get(mode))
    boxes = np.concatenate(hierarchies)
    order = np.argsort(_ranks([len(found) for found in hierarchies], seed), kind="stable")
    boxes = boxes[order]
    height, width = image.shape[:2]
    sides = boxes[:, 2:] - boxes[:, :2]
    boxes = boxes[(sides >= np.minimum(MIN_SIDE, (width, height))).all(axis=1)]
    ranked = torch.from_numpy(boxes.astype(np.float32))
    return ranked[nms(ranked, torch.arange(len(ranked), 0, -1).float(), NEAR_DUPLICATE_IOU)].numpy()


def _hierarchies(image: ImageArray, mode: SearchMode) -> list[NDArray[np.int64]]:
    """Return the boxes of the regions of each strategy, in the order of merging."""
    found = []
    for space in mode.spaces:
        seen = color_spaces.get(space)(image)
        bins = compute_bins(seen)
        for scale in mode.scales:
            regions = measure_regions(segment(seen, scale), bins)
            found += [group_regions(regions, similarity) for similarity in mode.similarities]
    return found


def _ranks(counts: list[int], seed: int) -> NDArray[np.float64]:
    """Return each region's position in its hierarchy (1 is the whole image) times a random number in 0..1.

    See section 4.3 of the paper.
    """
    places = np.concatenate([np.arange(count, 0, -1) for count in counts])
    return np.random.default_rng(seed).random(len(places)) * places
