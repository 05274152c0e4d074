import sys

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

pytest.importorskip("skimage")

from tests.helpers.real_data import real_data
from visionkit.data.datasets.shapes import Shapes
from visionkit.data.datasets.voc import Voc
from visionkit.data.proposals.color_spaces import color_spaces
from visionkit.data.proposals.hierarchical_grouping import (
    COLOR_TEXTURE_SIZE_FILL,
    FILL,
    SIZE,
    Similarity,
    group_regions,
)
from visionkit.data.proposals.initial_regions import Regions, compute_bins, measure_regions, segment
from visionkit.data.proposals.selective_search import search_modes, selective_search
from visionkit.errors import VisionkitError
from visionkit.ops.proposal_recall import best_overlaps, recall_at


def image():
    return Shapes(split="train", count=4, size=[60, 80])[2].image


def slow_description(labels, bins):
    """Regions measured pixel by pixel."""
    found = []
    for label in range(labels.max() + 1):
        rows, columns = np.nonzero(labels == label)
        inside = (labels == label).ravel()
        colors = [np.bincount(kind[inside], minlength=25) for kind in bins.colors]
        textures = [np.bincount(kind[inside], minlength=10) for kind in bins.textures]
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        found.append((len(rows), box, np.concatenate(colors), np.concatenate(textures)))
    return found


def slow_neighbors(labels):
    height, width = labels.shape
    pairs = set()
    for row in range(height):
        for column in range(width):
            for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
                if row + down < height and 0 <= column + right < width:
                    pairs.add(tuple(sorted((labels[row, column], labels[row + down, column + right]))))
    return {pair for pair in pairs if pair[0] != pair[1]}


def test_regions_are_measured_as_pixel_by_pixel():
    labels = np.random.default_rng(0).integers(0, 6, (9, 11))
    bins = compute_bins(image()[:9, :11])
    regions = measure_regions(labels, bins)
    for index, (size, box, colors, textures) in enumerate(slow_description(labels, bins)):
        assert regions.sizes[index] == size
        assert regions.boxes[index].tolist() == box
        np.testing.assert_allclose(regions.colors[index], colors / colors.sum(), rtol=1e-5)
        np.testing.assert_allclose(regions.textures[index], textures / textures.sum(), rtol=1e-5)
    assert {tuple(pair) for pair in regions.neighbors.tolist()} == slow_neighbors(labels)


def slow_similarity(one, other, chosen, pixels):
    """Section 3.2 of the paper on dicts of one region each."""
    answer = 0.0
    if chosen.color:
        answer += np.minimum(one["color"], other["color"]).sum()
    if chosen.texture:
        answer += np.minimum(one["texture"], other["texture"]).sum()
    if chosen.size:
        answer += 1 - (one["size"] + other["size"]) / pixels
    if chosen.fill:
        around = slow_union(one, other)["box"]
        area = (around[2] - around[0]) * (around[3] - around[1])
        answer += 1 - (area - one["size"] - other["size"]) / pixels
    return answer


def slow_union(one, other):
    size = one["size"] + other["size"]
    mean = {key: (one["size"] * one[key] + other["size"] * other[key]) / size for key in ("color", "texture")}
    low, high = np.minimum(one["box"], other["box"])[:2], np.maximum(one["box"], other["box"])[2:]
    return {"size": size, "box": np.concatenate([low, high]), **mean}


def slow_group(regions: Regions, chosen):
    """All pairs compared anew at each step."""
    keys = ("size", "box", "color", "texture")
    values = zip(regions.sizes, regions.boxes, regions.colors, regions.textures, strict=True)
    alive = dict(enumerate(dict(zip(keys, value, strict=True)) for value in values))
    pairs = {tuple(pair) for pair in regions.neighbors.tolist()}
    pixels, boxes = regions.sizes.sum(), [one["box"] for one in alive.values()]
    while pairs:
        first, second = max(pairs, key=lambda pair: slow_similarity(alive[pair[0]], alive[pair[1]], chosen, pixels))
        new = len(boxes)
        alive[new] = slow_union(alive.pop(first), alive.pop(second))
        boxes.append(alive[new]["box"])
        renamed = {tuple(sorted(new if index in (first, second) else index for index in pair)) for pair in pairs}
        pairs = {pair for pair in renamed if pair[0] != pair[1]}
    return np.stack(boxes)


@pytest.mark.parametrize("chosen", [COLOR_TEXTURE_SIZE_FILL, FILL, SIZE, Similarity(size=False, fill=False)])
def test_grouping_equals_comparing_all_pairs_at_each_step(chosen):
    seen = color_spaces.get("lab")(image())
    regions = measure_regions(segment(seen, 10), compute_bins(seen))
    assert 20 < len(regions.sizes) < 200
    # random sizes of histogram values leave no ties, where either choice would be right
    noise = np.random.default_rng(1)
    regions.sizes = regions.sizes + noise.random(len(regions.sizes))
    np.testing.assert_array_equal(group_regions(regions, chosen), slow_group(regions, chosen))


def test_proposals_lie_in_the_image_once_each_and_are_the_same_again():
    boxes = selective_search(image(), "fast")
    assert boxes.dtype == np.float32
    assert len(np.unique(boxes, axis=0)) == len(boxes) > 10
    assert (boxes >= 0).all()
    assert (boxes <= [80, 60, 80, 60]).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    overlaps = box_iou(torch.from_numpy(boxes), torch.from_numpy(boxes)).fill_diagonal_(0)
    assert overlaps.max() <= 0.75
    assert best_overlaps(torch.from_numpy(boxes), torch.tensor([[0.0, 0, 80, 60]]), [10**6]).item() >= 0.75
    np.testing.assert_array_equal(boxes, selective_search(image(), "fast"))
    other = selective_search(image(), "fast", seed=1)
    assert not np.array_equal(boxes, other)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (3, 2), (10, 200)])
def test_tiny_and_uniform_images_propose_the_whole(size):
    assert selective_search(np.full((*size, 3), 90, np.uint8)).tolist() == [[0, 0, size[1], size[0]]]


def test_quality_uses_more_strategies_than_fast_and_fast_than_single():
    numbers = [len(selective_search(image(), mode)) for mode in ("single", "fast", "quality")]
    assert numbers == sorted(set(numbers))
    mode = search_modes.get("quality")
    assert len(mode.spaces) * len(mode.scales) * len(mode.similarities) == 80


def test_without_scikit_image_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    with pytest.raises(VisionkitError, match=r"scikit-image, of the extra \"proposals\": pip install -e"):
        selective_search(image())


def test_objects_of_real_images_are_reached():
    reader = Voc(root=real_data("voc2007-mini"), image_set="val")
    overlaps = []
    for index in (0, 40, 80):
        sample = reader[index]
        objects = torch.from_numpy(sample.annotation.boxes[~sample.annotation.difficult])
        overlaps.append(best_overlaps(torch.from_numpy(selective_search(sample.image)), objects, [2000]))
    assert recall_at(torch.cat(overlaps), 0.5).item() > 0.8
