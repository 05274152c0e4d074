"""Distributions of splits, against values computed image by image, and the bins of histograms."""

import numpy as np
import pytest
from PIL import Image

from tests.helpers.photo_folder import write_photos
from visionkit.data.datasets.folder import FolderDataset
from visionkit.data.datasets.masks import MaskDataset
from visionkit.data.datasets.shapes import Shapes
from visionkit.data.stats.distributions import CELLS, make_histogram, read_distributions, size_class

SHAPES = Shapes(count=20, size=[64, 96], empty_share=0.3, semantic=True)


def test_values_are_those_of_the_images():
    found = read_distributions(SHAPES)
    annotations = [SHAPES.annotation(index) for index in range(len(SHAPES))]
    assert found.sizes.tolist() == [[64, 96]] * 20
    assert found.objects_per_image.tolist() == [len(annotation) for annotation in annotations]
    assert 0 in found.objects_per_image
    np.testing.assert_array_equal(found.boxes, np.concatenate([annotation.boxes for annotation in annotations]))
    assert [found.objects_per_image[index] for index in np.unique(found.image_index)] == [
        len(annotation) for annotation in annotations if len(annotation)
    ]
    labels = np.concatenate([annotation.labels for annotation in annotations])
    assert found.objects_per_class.tolist() == [(labels == label).sum() for label in range(len(SHAPES.class_names))]
    present = [{*annotation.labels.tolist()} for annotation in annotations]
    assert found.images_per_class[1:].tolist() == [
        sum(label in labels for labels in present) for label in range(1, len(SHAPES.class_names))
    ]
    masks = np.stack([SHAPES.semantic(index) for index in range(len(SHAPES))])
    assert found.pixels.tolist() == [(masks == label).sum() for label in range(len(SHAPES.class_names))]
    assert found.ignored_share == 0
    assert found.problems == []


def test_box_centers_are_counted_in_cells():
    found = read_distributions(SHAPES)
    expected = np.zeros((CELLS, CELLS), int)
    for x1, y1, x2, y2 in found.boxes.tolist():
        expected[int((y1 + y2) / 2 / 64 * CELLS), int((x1 + x2) / 2 / 96 * CELLS)] += 1
    np.testing.assert_array_equal(found.center_map(), expected)
    assert expected.sum() == len(found.boxes) > 0


def test_object_sizes_have_the_borders_of_coco():
    areas = np.array([32**2 - 1, 32**2, 96**2, 96**2 + 1], np.float32)
    assert size_class(areas).tolist() == [0, 1, 1, 2]


def test_images_with_a_class_and_broken_ones(tmp_path):
    write_photos(tmp_path)
    (tmp_path / "photos" / "cat" / "broken.jpg").write_bytes(b"no image")
    found = read_distributions(FolderDataset(root=tmp_path, path="photos"))
    assert found.images_per_class.tolist() == [6, 6]
    assert len(found.sizes) == 12
    assert found.pixels is None
    assert len(found.problems) == 1
    assert "broken.jpg" in found.problems[0]


def test_ignored_pixels_and_masks_that_cannot_be_read(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for index, value in enumerate((0, 1, 3)):
        Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / "images" / f"{index}.png")
        Image.fromarray(np.full((4, 6), value, np.uint8)).save(tmp_path / "masks" / f"{index}.png")
    dataset = MaskDataset(tmp_path, "images", "masks", values={0: "a", 1: "ignore", 2: "b"})
    found = read_distributions(dataset)
    assert found.pixels.tolist() == [24, 0]
    assert found.ignored_pixels == 24
    assert found.ignored_share == 0.5
    assert len(found.problems) == 1
    assert "3" in found.problems[0]


@pytest.mark.parametrize("per_octave", [None, 3])
def test_every_value_is_in_one_bin(per_octave):
    random = np.random.default_rng(0)
    values = {"train": random.lognormal(3, 2, 500), "val": random.integers(1, 4000, 50), "test": np.zeros(0)}
    found = make_histogram(values, per_octave)
    assert {split: counts.sum() for split, counts in found.counts.items()} == {"train": 500, "val": 50, "test": 0}
    for split, counts in found.counts.items():
        inside = [
            ((low <= values[split]) & (values[split] < high)).sum()
            for low, high in zip(found.edges, found.edges[1:], strict=False)
        ]
        assert counts.tolist() == inside
    widths = np.diff(found.edges) if per_octave is None else found.edges[1:] / found.edges[:-1]
    np.testing.assert_allclose(widths, widths[0])


@pytest.mark.parametrize(("values", "width"), [([0, 3], 1), ([0, 40], 2), ([0, 100], 5), ([3, 3], 1), ([0, 230], 10)])
def test_bins_have_round_widths(values, width):
    edges = make_histogram({"train": np.array(values)}).edges
    np.testing.assert_allclose(np.diff(edges), width)
    assert edges[0] <= values[0] < edges[1]
    assert edges[-2] <= values[1] < edges[-1]


def test_powers_of_two_are_edges_of_logarithmic_bins():
    assert {32, 64, 128} <= {*make_histogram({"train": np.array([20, 200])}, 3).edges.round(9)}
